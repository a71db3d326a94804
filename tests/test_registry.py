"""Encoders that another package registers, and token counts without a tokenizer."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.estimate import EstimatedTokens
from mcp_server_embeddings.engine.identity import Prompts
from mcp_server_embeddings.errors import TextTooLongError
from test_parity import SCRIPTS, of_words
from wire import PATIENCE, ServerProcess, client_environment

ACME = """
import numpy as np
from mcp_server_embeddings.engine.encoder import Encoder, LoadedEncoder
from mcp_server_embeddings.engine.estimate import EstimatedTokens
from mcp_server_embeddings.engine.identity import ModelIdentity

class LetterCounts(Encoder):
    engine, device, precision, agreement = "acme", "cpu", "exact", None
    streams, batch_tokens = 1, 100
    identity = ModelIdentity(name="letters", dimensions=26, max_tokens=20, normalised=False)

    def encode(self, inputs):
        counts = [[part.text.lower().count(chr(97 + letter)) for letter in range(26)] for part in inputs]
        return np.array(counts, dtype=np.float32)

def load(settings, progress):
    return LoadedEncoder(LetterCounts(), EstimatedTokens(max_tokens=20))
"""
"""An encoder of texts alone: it has neither weights nor a tokenizer."""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a program beside which a package with an encoder is installed."""
    site = tmp_path / "site"
    information = site / "acme_embeddings-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "acme_embeddings.py").write_text(ACME, encoding="utf-8")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-embeddings\nVersion: 1.0\n", "utf-8")
    (information / "entry_points.txt").write_text(
        "[mcp_server_embeddings.encoders]\nacme = acme_embeddings:load\n", encoding="utf-8"
    )
    return {"PYTHONPATH": str(site)}


def test_an_encoder_that_a_package_registers_serves(installed: dict[str, str], tmp_path: Path) -> None:
    caches = {"MCP_EMBEDDINGS_CACHE_DIR": str(tmp_path / "cache")}
    with ServerProcess(tmp_path / "data", "--engine", "acme", environment={**installed, **caches}) as server:
        server.handshake()
        texts = ["listen", "silent", "buzz " * 40]
        answer: dict[str, Any] = server.call("similarity", {"left": texts})["structuredContent"]
        best = answer["pairs"][0]
        assert (best["left"], best["right"], best["score"]) == (0, 1, 1.0)
        assert "longer than the model reads" in answer["notes"][0]
        status = server.call("status", {})["structuredContent"]
    assert status["engine"] == "acme"
    assert status["identity"]["name"] == "letters"
    assert status["identity"]["sha256"] == ""
    assert status["queue"]["batches_done"] > 1


@pytest.mark.parametrize(
    ("engine", "hint"), [("acm", "did you mean 'acme'?"), ("zzz", "known: acme, auto, compiled, openai, reference")]
)
def test_an_unknown_engine_is_answered_with_the_registered_ones(
    engine: str, hint: str, installed: dict[str, str]
) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "mcp_server_embeddings", "--engine", engine],
        env=client_environment(**installed),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 2
    assert f"engine {engine!r} is unknown; {hint}" in finished.stderr


def test_batches_are_as_large_as_the_encoder_asks(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    encoder.batch_tokens = 20
    with Engine(Settings(data_dir=tmp_path, cache_dir=tmp_path), encoder.load) as engine:
        engine.embedder().calibration()
        encoder.batches.clear()
        engine.embedder().embed([f"text {letter} here" for letter in "abcdefghijkl"])  # 5 tokens each
    assert [len(batch) for batch in encoder.batches] == [4, 4, 4]


NO_SCAN = """
import sys
from mcp_server_embeddings.config import ENGINES, Settings

class Scanned(Exception): ...

class Finder:
    def find_spec(self, *_): return None
    def find_distributions(self, *_): raise Scanned

sys.meta_path.insert(0, Finder())
for name in ENGINES:
    remote = {"engine_url": "http://a", "engine_model": "b"} if name == "openai" else {}
    Settings(engine=name, **remote)
try:
    Settings(engine="acme")
except Scanned:
    print("scanned")
"""


def test_installed_packages_are_scanned_only_for_a_name_that_is_not_built_in() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", NO_SCAN],
        env=client_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert finished.stdout == "scanned\n"


@given(
    text=st.lists(st.sampled_from([*SCRIPTS, *of_words(40).split()]), min_size=1, max_size=120).map(" ".join),
    limit=st.integers(8, 64),
    prompt=st.sampled_from(["", "find: "]),
)
def test_windows_by_an_estimate_fit_the_limit_and_cover_the_text(text: str, limit: int, prompt: str) -> None:
    counter = EstimatedTokens(limit, Prompts(query=prompt))
    (tokenized,) = counter.tokenize([text], "query", "window")
    assert all(part.tokens <= limit for part in tokenized.inputs)
    assert all(counter.count([prompt + part.text])[0] <= limit for part in tokenized.inputs)
    covered = 0
    for part in tokenized.inputs:
        gap = len(text[covered:]) - len(text[covered:].lstrip())
        position = text.rfind(part.text, 0, covered + gap + len(part.text))
        assert position != -1, f"a gap after {text[:covered]!r}"
        covered = max(covered, position + len(part.text))
    assert not text[covered:].strip()


@pytest.mark.parametrize(("long_text", "parts"), [("truncate", 1), ("window", 4)])
def test_an_estimate_cuts_a_long_text_as_asked(long_text: LongText, parts: int) -> None:
    (tokenized,) = EstimatedTokens(32).tokenize(["word " * 100], "symmetric", long_text)
    assert len(tokenized.inputs) == parts
    assert tokenized.truncated == (long_text == "truncate")
    assert tokenized.inputs[0].text == " ".join(["word"] * 30)
    assert tokenized.inputs[0].ids == ()


def test_an_estimate_refuses_a_long_text_when_asked() -> None:
    with pytest.raises(TextTooLongError, match="text 1 has about 102 tokens, the model reads about 32"):
        EstimatedTokens(32).tokenize(["short", "word " * 100], "symmetric", "error")
