"""The size of lines and of answers."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from wire import ServerProcess, error_text, peak_memory

pytestmark = pytest.mark.usefixtures("own_process")


@pytest.mark.slow
def test_vectors_over_the_limit_of_an_answer_are_in_a_file(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        texts = [f"text {i}" for i in range(600)]
        file = server.call("embed", {"texts": texts})["structuredContent"]["file"]
        assert file["shape"] == [600, 384]


@pytest.mark.slow
def test_the_limit_of_an_answer_counts_bytes_and_not_characters(tmp_path: Path) -> None:
    """One and a third million characters of three bytes are stored, but not sent in one answer."""
    text = "会议" * 670_000
    with closing(open_store(Settings(data_dir=tmp_path))) as store:
        parts = (NewChunk(0, 500, "", np.ones(2, np.float32)), NewChunk(500, len(text), "", np.ones(2, np.float32)))
        store.open_or_create("large", "identity", "model@1", 2).put([NewDocument("long", text, None, parts)])
    with ServerProcess(tmp_path) as server:
        server.handshake()
        request = server.send("resources/read", {"uri": "embeddings://collections/large/long"})
        error = server.answer(request)["error"]
        assert "4,020," in error["message"]
        assert "at most 4,000,000" in error["message"]
        assert "read a part of it" in error["message"]
        assert server.request("resources/read", {"uri": "embeddings://collections/large/long%231"})["contents"]


@pytest.mark.slow
def test_what_repeats_a_large_request_is_not_sent(data_dir: Path) -> None:
    large = "x" * 6_000_000
    with ServerProcess(data_dir) as server:
        server.handshake()
        for method, params in (
            ("prompts/get", {"name": "sort_feedback", "arguments": {"texts": large}}),
            (large, {}),
            ("tools/call", {"name": large}),
            ("resources/read", {"uri": large}),
        ):
            assert (
                "at most" in server.answer(server.send(method, params))["error"]["message"]
                or len(server.lines[-1]) < 2_000
            )
        assert max(map(len, server.lines)) < 100_000


@pytest.mark.slow
def test_a_line_over_the_limit_is_refused_and_not_kept(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        for _ in range(4):
            server.write(b'{"jsonrpc":"2.0","id":1,"method":"')
            for _ in range(20):
                server.write(b"x" * 10_000_000)
            server.write(b'"}\n')
            assert "over 32,000,000 bytes" in server.next_message()["error"]["message"]
        assert server.request("ping") == {}
        assert peak_memory(server.process.pid) < 600_000_000


@pytest.mark.slow
def test_a_line_of_many_values_is_refused_before_they_are_validated(data_dir: Path) -> None:
    """The SDK's models collected a fault for each: 20 MB took 20 seconds and 6 GB."""
    icons = b"[" + b"0," * 5_000_000 + b"0]"
    with ServerProcess(data_dir) as server:
        server.handshake()
        server.write(
            b'{"jsonrpc":"2.0","id":3,"method":"initialize","params":{"clientInfo":{"icons":' + icons + b"}}}\n"
        )
        assert "over 500,000 values; send less" in server.answer(3)["error"]["message"]
        assert server.request("ping") == {}
        assert peak_memory(server.process.pid) < 600_000_000


@pytest.mark.slow
def test_a_five_megabyte_text_is_refused_and_the_server_lives(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        assert "2,000,000" in error_text(server.call("embed", {"texts": ["x" * 5_000_000]}))
        assert server.request("ping") == {}
