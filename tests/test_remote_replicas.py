"""A remote engine of two replicas behind nginx: as exact as one here, and one of them may die."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from http_server import HttpServer
from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from nginx import nginx
from waiting import wait_until

pytestmark = pytest.mark.slow

CALLS = [[f"call {call} asks about text {text} of its own" for text in range(3)] for call in range(100)]


@pytest.fixture(scope="module")
def replicas(data_dir: Path) -> Iterator[list[HttpServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(HttpServer(data_dir, "--threads", "1", "--no-cache")) for _ in range(2)]


@pytest.fixture(scope="module")
def remote(replicas: list[HttpServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("nginx")
    with nginx(folder, [replica.http.base_url.port or 0 for replica in replicas]) as url:
        settings = Settings(
            engine="openai", engine_url=f"{url}/v1", engine_model=DEFAULT_MODEL, data_dir=folder, no_cache=True
        )
        with Engine(settings) as engine:
            yield engine


def test_vectors_of_replicas_are_those_of_the_model_here(remote: Engine, embedder: Embedder) -> None:
    texts = [text for call in CALLS[:40] for text in call]
    cosines = np.sum(remote.embedder().embed(texts).vectors * embedder.embed(texts).vectors, axis=1)
    assert cosines.min() >= 0.9999
    assert "reads 1,648 tokens of a text and more" in remote.status().note


def test_no_call_is_lost_when_a_replica_is_killed(remote: Engine, replicas: list[HttpServer]) -> None:
    served = [replica.metric("inputs_total") for replica in replicas]

    def both_serve() -> bool:
        return all(replica.metric("inputs_total") > before for replica, before in zip(replicas, served, strict=True))

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(remote.embedder().embed, texts) for texts in CALLS]
        wait_until(both_serve, "both replicas serve", pause=0.01)
        replicas[0].process.kill()
        assert not answers[-1].done()
        assert [len(answer.result().vectors) for answer in answers] == [3] * len(CALLS)
    assert replicas[0].finish() < 0
