"""The pytest plugin: fixtures for assertions on meaning. Nothing is imported or loaded until a test uses a fixture.

All tests of a session share one engine: the model is loaded once, in the test process (with pytest-xdist in each
worker), from files on this machine, and no text or vector of the tests is stored. The model is configured as for the
server, by the environment variables ``MCP_EMBEDDINGS_…``, or by overriding the fixture ``embeddings_settings``.
"""

from collections.abc import Iterator

import pytest

TYPE_CHECKING = False
"""See ``TYPE_CHECKING`` in the package."""

if TYPE_CHECKING:
    from mcp_server_embeddings.config import Settings
    from mcp_server_embeddings.engine.embedder import Embedder
    from mcp_server_embeddings.tools.assertions import AssertNotSimilar, AssertRanked, AssertSimilar


@pytest.fixture(scope="session")
def embeddings_settings() -> "Settings":
    """Return the engine's settings: those of the environment, without downloads and without a cache."""
    import argparse
    import os
    from dataclasses import replace

    from mcp_server_embeddings.cli.options import settings_from

    return replace(settings_from(argparse.Namespace(), os.environ), download=False, no_cache=True)


@pytest.fixture(scope="session")
def embeddings_engine(embeddings_settings: "Settings") -> "Iterator[Embedder]":
    """Return the embedder of the session, the first argument of every function of the Python API."""
    from mcp_server_embeddings.engine.engine import Engine

    with Engine(embeddings_settings) as engine:
        yield engine.embedder()


@pytest.fixture(scope="session")
def assert_similar(embeddings_engine: "Embedder") -> "AssertSimilar":
    """``assert_similar(left, right, band="related", facts=False)`` asserts that texts are in this band or closer."""
    from mcp_server_embeddings.tools.assertions import AssertSimilar

    return AssertSimilar(embeddings_engine)


@pytest.fixture(scope="session")
def assert_not_similar(embeddings_engine: "Embedder") -> "AssertNotSimilar":
    """``assert_not_similar(left, right, band="related")`` asserts that texts are in a band below this one."""
    from mcp_server_embeddings.tools.assertions import AssertNotSimilar

    return AssertNotSimilar(embeddings_engine)


@pytest.fixture(scope="session")
def assert_ranked(embeddings_engine: "Embedder") -> "AssertRanked":
    """``assert_ranked(query, texts)`` asserts that texts, given best first, are in the order of their bands."""
    from mcp_server_embeddings.tools.assertions import AssertRanked

    return AssertRanked(embeddings_engine)
