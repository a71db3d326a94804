"""Turn the texts of one caller into vectors."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np

from mcp_server_embeddings.engine.cache import CachedText, Cut, VectorCache, cache_key
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import LongText, TokenizedText
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.engine.lifecycle import Lifecycle, LoadedModel, ModelLifecycle
from mcp_server_embeddings.engine.reranker import LoadedReranker, Relevance, RerankerIdentity
from mcp_server_embeddings.engine.text_languages import TextLanguages
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.vectors.calibration import Calibration, SearchCalibration
from mcp_server_embeddings.vectors.scores import Vectors
from mcp_server_embeddings.vectors.shape import joined_windows


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one call.

    Attributes:
        vectors: Shape ``(n, d)``, float32, one row per text.
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
    """The engine's interface for tools, created by ``Engine.embedder``.

    Attributes:
        lifecycle: Loads and holds the model.
        cache: Vectors of texts seen before; None disables caching.
        call: Progress and cancellation.
        data_dir: Folder that tools may write to.
        reranker: Loads and holds the reranker; None without a reranker.
        rerank_ms: Time limit for reranking the results of one query, in milliseconds.
        text_languages: Counts the languages of encoded texts; None for texts that are not the user's.
    """

    lifecycle: ModelLifecycle
    cache: VectorCache | None
    call: Call
    data_dir: Path
    reranker: Lifecycle[LoadedReranker] | None = None
    rerank_ms: int = 0
    text_languages: TextLanguages | None = None

    def embed(self, texts: Sequence[str], *, role: Role = "symmetric", long_text: LongText = "window") -> Embeddings:
        """Turn texts into vectors. Equal texts are encoded once; cached texts are not encoded again.

        Waits for the model if it is still loading.

        Args:
            texts: One or more texts, none of them blank.
            role: Selects the model's prompt.
            long_text: Treatment of a text over the model's limit: ``window`` averages overlapping windows,
                weighted by their tokens, ``truncate`` reads only its beginning, ``error`` rejects it.

        Returns:
            One vector per text; a text within the limit gets the vector that sentence-transformers computes.

        Raises:
            TextTooLongError: See ``long_text``.
            OperatorError: The model is missing, cannot be loaded, or returned no usable vector for one of the texts.
            CallCancelledError: The caller cancelled; encoding stops at the next batch.

        Example:
            >>> with Engine(Settings()) as engine:
            ...     engine.embedder().embed(["a cat", "a dog"]).vectors.shape
            (2, 384)
        """
        with self.lifecycle.use(self.call) as loaded:
            encoder = loaded.encoder
            context = "\0".join((encoder.identity.digest, encoder.engine, encoder.precision, role, long_text))
            keys = {text: cache_key(context, text) for text in dict.fromkeys(texts)}
            known = self.cache.get(list(keys.values()), encoder.identity.dimensions) if self.cache else {}
            missing = [text for text, key in keys.items() if key not in known]
            if missing:
                encoded = self._encoded(loaded, missing, role, long_text)
                fresh = {keys[text]: entry for text, entry in zip(missing, encoded, strict=True)}
                if self.cache:
                    self.cache.put(fresh)
                known |= fresh
        entries = [known[keys[text]] for text in texts]
        return Embeddings(
            vectors=np.stack([entry.vector for entry in entries]),
            tokens=sum(entry.tokens for entry in entries),
            windowed=tuple(i for i, entry in enumerate(entries) if entry.cut == "windowed"),
            truncated=tuple(i for i, entry in enumerate(entries) if entry.cut == "truncated"),
        )

    def of(self, call: Call) -> "Embedder":
        """Return this embedder for another call."""
        return replace(self, call=call)

    def identity(self) -> ModelIdentity:
        """Return the model's identity; waits until it is loaded."""
        with self.lifecycle.use(self.call) as loaded:
            return loaded.encoder.identity

    @overload
    def calibration(self, comparison: Literal["symmetric"] = "symmetric") -> Calibration: ...

    @overload
    def calibration(self, comparison: Literal["retrieval"]) -> SearchCalibration: ...

    def calibration(self, comparison: Literal["symmetric", "retrieval"] = "symmetric") -> Calibration:
        """Return the model's calibration; waits until it is measured.

        Args:
            comparison: ``symmetric`` to compare texts with each other, ``retrieval`` to compare queries with documents.
        """
        measured = self.lifecycle.calibrations(self.call)
        return measured.symmetric if comparison == "symmetric" else measured.retrieval

    def tokens_at_once(self) -> int:
        """Return the number of tokens that keeps every stream of the encoder busy; waits until the model is loaded."""
        with self.lifecycle.use(self.call) as loaded:
            return loaded.encoder.streams * loaded.encoder.batch_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the model's tokens in each text, excluding prompt and special tokens."""
        with self.lifecycle.use(self.call) as loaded:
            return loaded.counter.count(texts, self.call)

    def estimates_tokens(self) -> bool:
        """Return whether token counts are estimates, because the model's tokenizer is not on this machine."""
        with self.lifecycle.use(self.call) as loaded:
            return loaded.counter.estimated

    def reranks(self) -> bool:
        """Return whether there is a reranker; waits until it is loaded, and raises the same errors as ``rerank``."""
        return self.reranker is not None and bool(self.reranker_identity())

    def reranker_identity(self) -> RerankerIdentity:
        """Return the reranker's identity; waits until it is loaded, and raises the same errors as ``rerank``."""
        with self._reranker().use(self.call) as loaded:
            return loaded.reranker.identity

    def rerank(self, query: str, passages: Sequence[str], *, complete: bool = False) -> Relevance:
        """Score how relevant passages are to a query, in the same queue as the encoder.

        Args:
            query: The search query.
            passages: Passages, most important first; those not in a batch after ``rerank_ms`` are not scored.
            complete: Score all passages, however long it takes.

        Raises:
            ConfigurationError: There is no reranker.
            OperatorError: The reranker is missing, cannot be loaded, or returned a score that is not finite.
            CallCancelledError: The caller cancelled; scoring stops at the next batch.
        """
        with self._reranker().use(self.call) as loaded, self.lifecycle.use(self.call) as model:
            if not (self.rerank_ms or complete):
                return Relevance(np.full(len(passages), np.nan), 0, ())
            deadline = None if complete else time.monotonic() + self.rerank_ms / 1000
            inputs = loaded.reranker.tokenize([(query, passage) for passage in passages])
            self.call.expect(len(inputs))
            scores = loaded.score(inputs, model.scheduler, self.call, deadline)
            self.call.expect(-int(np.isnan(scores).sum()))
            identity = loaded.reranker.identity
            return Relevance(
                scores=loaded.calibration.relevance(identity.logits(scores)),
                tokens=sum(pair.tokens for pair in inputs),
                full=tuple(i for i, pair in enumerate(inputs) if pair.tokens >= identity.max_tokens),
            )

    def _reranker(self) -> Lifecycle[LoadedReranker]:
        if self.reranker is None:
            raise ConfigurationError("there is no reranker; start with --reranker MODEL")
        return self.reranker

    def _encoded(self, loaded: LoadedModel, texts: list[str], role: Role, long_text: LongText) -> list[CachedText]:
        if self.text_languages is not None:
            self.text_languages.see(texts)
        tokenized = loaded.counter.tokenize(texts, role, long_text, self.call)
        inputs = [part for text in tokenized for part in text.inputs]
        self.call.expect(len(inputs))
        encoded = loaded.scheduler.run(inputs, self.call)
        vectors = _join_windows(tokenized, encoded, normalised=loaded.encoder.identity.normalised)
        return [CachedText(vector, text.tokens, _cut(text)) for vector, text in zip(vectors, tokenized, strict=True)]


def _cut(text: TokenizedText) -> Cut:
    if text.windowed:
        return "windowed"
    return "truncated" if text.truncated else ""


def _join_windows(texts: list[TokenizedText], encoded: Vectors, *, normalised: bool) -> Vectors:
    """Reduce one row per input to one row per text."""
    if not any(text.windowed for text in texts):
        return encoded
    starts = np.cumsum([0, *(len(text.inputs) for text in texts)])
    rows = [
        joined_windows(encoded[start : start + len(text.inputs)], list(text.weights), normalised=normalised)
        if text.windowed
        else encoded[start : start + 1]
        for start, text in zip(starts, texts, strict=False)
    ]
    return np.concatenate(rows)
