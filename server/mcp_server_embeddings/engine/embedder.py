"""The engine as one caller sees it: texts in, vectors out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcp_server_embeddings.engine.cache import CachedText, Cut, VectorCache, cache_key
from mcp_server_embeddings.engine.calibrate import Comparison
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import Encoder
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.engine.lifecycle import Lifecycle, LoadedModel
from mcp_server_embeddings.engine.tokens import LongText, TokenizedText
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.scores import Vectors
from mcp_server_embeddings.vectors.shape import joined_windows


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one call.

    Attributes:
        vectors: Shape ``(n, d)``, float32, one row a text.
        tokens: Tokens the model reads for these texts.
        windowed: Positions of texts cut into windows.
        truncated: Positions of texts whose end was not read.
    """

    vectors: Vectors
    tokens: int
    windowed: tuple[int, ...]
    truncated: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Embedder:
    """What every tool takes. Made by ``Engine.embedder``.

    Attributes:
        lifecycle: Has the model.
        cache: Vectors of texts seen before; None remembers nothing.
        call: Progress out, cancellation in.
        data_dir: Where a tool may write.
    """

    lifecycle: Lifecycle
    cache: VectorCache | None
    call: Call
    data_dir: Path

    def embed(self, texts: Sequence[str], *, role: Role = "symmetric", long_text: LongText = "window") -> Embeddings:
        """Turn texts into vectors; the same text twice is encoded once, a text seen before not at all.

        Waits for the model if it is still loading.

        Args:
            texts: One or more, each with a character that is not white space.
            role: Picks the model's prompt.
            long_text: What becomes of a text over the model's limit: ``window`` averages overlapping
                windows by their tokens, ``truncate`` reads its beginning, ``error`` refuses it.

        Returns:
            One vector a text; a text within the limit has the vector sentence-transformers gives it.

        Raises:
            TextTooLongError: See ``long_text``.
            OperatorError: The model is missing or cannot be loaded, or gave no usable vector for one of the texts.
            CallCancelledError: The caller cancelled; work stops at the next batch.
        """
        with self.lifecycle.use(self.call) as loaded:
            keys = _keys(loaded.encoder, role, long_text, texts)
            dimensions = loaded.encoder.identity.dimensions
            known = self.cache.get(list(set(keys.values())), dimensions) if self.cache is not None else {}
            missing = [text for text, key in keys.items() if key not in known]
            if missing:
                fresh = {keys[text]: entry for text, entry in self._encoded(loaded, missing, role, long_text)}
                if self.cache is not None:
                    self.cache.put(fresh)
                known |= fresh
        entries = [known[keys[text]] for text in texts]
        return Embeddings(
            vectors=np.stack([entry.vector for entry in entries]),
            tokens=sum(entry.tokens for entry in entries),
            windowed=tuple(i for i, entry in enumerate(entries) if entry.cut == "windowed"),
            truncated=tuple(i for i, entry in enumerate(entries) if entry.cut == "truncated"),
        )

    def identity(self) -> ModelIdentity:
        """Which model this is; waits until it is loaded."""
        with self.lifecycle.use(self.call) as loaded:
            return loaded.encoder.identity

    def calibration(self, comparison: Comparison = "symmetric") -> Calibration:
        """What a cosine means under this model; waits until it is measured.

        Args:
            comparison: ``symmetric`` for texts with their like, ``retrieval`` for queries with documents.
        """
        return self.lifecycle.calibrations(self.call).of(comparison)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has for this model, without prompt and special tokens."""
        with self.lifecycle.use(self.call) as loaded:
            return loaded.tokenizer.count(texts, self.call)

    def _encoded(
        self, loaded: LoadedModel, texts: list[str], role: Role, long_text: LongText
    ) -> list[tuple[str, CachedText]]:
        plans = loaded.tokenizer.tokenize(texts, role, long_text, self.call)
        pieces = [piece for plan in plans for piece in plan.pieces]
        self.call.total += len(pieces)
        encoded = loaded.scheduler.run(pieces, self.call)
        vectors = _joined(plans, encoded, normalised=loaded.encoder.identity.normalised)
        return [
            (text, CachedText(vector, plan.tokens, _cut(plan)))
            for text, vector, plan in zip(texts, vectors, plans, strict=True)
        ]


def _keys(encoder: Encoder, role: Role, long_text: LongText, texts: Sequence[str]) -> dict[str, bytes]:
    """The cache's key of each distinct text, in order."""
    context = "\0".join((encoder.identity.digest, encoder.engine, encoder.precision, role, long_text))
    return {text: cache_key(context, text) for text in dict.fromkeys(texts)}


def _cut(plan: TokenizedText) -> Cut:
    if plan.windowed:
        return "windowed"
    return "truncated" if plan.truncated else ""


def _joined(plans: list[TokenizedText], encoded: Vectors, *, normalised: bool) -> Vectors:
    """One row a text from one row a piece."""
    if not any(plan.windowed for plan in plans):
        return encoded
    starts = np.cumsum([0, *(len(plan.pieces) for plan in plans)])
    rows = [
        joined_windows(encoded[start : start + len(plan.pieces)], list(plan.weights), normalised=normalised)
        if plan.windowed
        else encoded[start : start + 1]
        for start, plan in zip(starts, plans, strict=False)
    ]
    return np.concatenate(rows)
