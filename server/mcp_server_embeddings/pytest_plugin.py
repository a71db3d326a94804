"""The pytest plugin: fixtures that assert on meaning. Nothing is imported or loaded until a test asks for one.

The engine is that of the session: the model is loaded once, in the test process (with pytest-xdist in each worker),
from files of this machine, and nothing of the tests' texts is kept. It is chosen as for the server, by the variables
``MCP_EMBEDDINGS_…``, or by overriding the fixture ``embeddings_settings``.
"""

from collections.abc import Iterator

import pytest

TYPE_CHECKING = False
"""As type checkers know it; see the package."""

if TYPE_CHECKING:
    from mcp_server_embeddings.config import Settings
    from mcp_server_embeddings.engine.embedder import Embedder
    from mcp_server_embeddings.tools.assertions import AssertNotSimilar, AssertRanked, AssertSimilar


@pytest.fixture(scope="session")
def embeddings_settings() -> "Settings":
    """Give the settings of the engine: those of the environment, without downloads and without a cache on disk."""
    import argparse
    import os
    from dataclasses import replace

    from mcp_server_embeddings.cli.options import settings_from

    return replace(settings_from(argparse.Namespace(), os.environ), download=False, no_cache=True)


@pytest.fixture(scope="session")
def embeddings_engine(embeddings_settings: "Settings") -> "Iterator[Embedder]":
    """Give the engine of the session, the first argument of every function of the Python API."""
    from mcp_server_embeddings.engine.engine import Engine

    with Engine(embeddings_settings) as engine:
        yield engine.embedder()


@pytest.fixture(scope="session")
def assert_similar(embeddings_engine: "Embedder") -> "AssertSimilar":
    """Assert by ``assert_similar(left, right, band="related", facts=False)`` that texts are so close, or closer."""
    from mcp_server_embeddings.tools.assertions import AssertSimilar

    return AssertSimilar(embeddings_engine)


@pytest.fixture(scope="session")
def assert_not_similar(embeddings_engine: "Embedder") -> "AssertNotSimilar":
    """Assert by ``assert_not_similar(left, right, band="related")`` that texts are in a band below this one."""
    from mcp_server_embeddings.tools.assertions import AssertNotSimilar

    return AssertNotSimilar(embeddings_engine)


@pytest.fixture(scope="session")
def assert_ranked(embeddings_engine: "Embedder") -> "AssertRanked":
    """Assert by ``assert_ranked(query, texts)`` that texts, best first, are in their order by band."""
    from mcp_server_embeddings.tools.assertions import AssertRanked

    return AssertRanked(embeddings_engine)
