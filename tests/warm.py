"""Encoders that stay loaded in this process, for tests of the use of vectors rather than of loading."""

import atexit
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.encoder import Encoder, EncoderInput, LoadedEncoder
from mcp_server_embeddings.engine.registry import load_encoder
from mcp_server_embeddings.vectors.scores import Vectors


class WarmEncoder(Encoder):
    """A wrapper of an encoder of the package that keeps it loaded when an engine ends."""

    def __init__(self, encoder: Encoder) -> None:
        self.engine, self.device, self.precision = encoder.engine, encoder.device, encoder.precision
        self.streams, self.batch_tokens = encoder.streams, encoder.batch_tokens
        self.identity, self.agreement, self.note = encoder.identity, encoder.agreement, encoder.note
        self.encode_batch = encoder.encode

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        return self.encode_batch(inputs)


@functools.lru_cache(maxsize=3)
def _loaded(model: str, precision: Precision) -> LoadedEncoder:
    loaded = load_encoder(Settings(model=model, precision=precision), lambda _: None)
    return LoadedEncoder(WarmEncoder(loaded.encoder), loaded.counter)


atexit.register(_loaded.cache_clear)


def load(settings: Settings, _: Callable[[str], None]) -> LoadedEncoder:
    """Load an encoder, once in a process; an engine calls this function."""
    return _loaded(settings.model, settings.precision)


def install(site: Path) -> None:
    """Register ``load`` as the engine ``warm``, as an installed package would, in a folder for ``sys.path``."""
    metadata = site / "warm-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: warm\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[mcp_server_embeddings.encoders]\nwarm = warm:load\n", "utf-8")
