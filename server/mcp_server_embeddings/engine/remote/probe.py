"""Find out what a remote engine does not report: which model answers, and how much of a text it reads.

A model is recognised by its vectors for a few fixed texts. They are stored, because two runs of one model differ
slightly: vectors close to stored ones are from the same model. Without stored vectors, the model's digest is computed
from rounded cosines, which are the same on other machines.

How much is read is found with pairs of texts that differ only at their end: if both have the same vector, the end was
not read.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mcp_server_embeddings.engine.estimate import EstimatedTokens
from mcp_server_embeddings.engine.remote.client import RemoteClient
from mcp_server_embeddings.errors import RemoteRefusalError, RemoteUnavailableError
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.vectors.scores import Vectors, paired_cosines

_log = logging.getLogger(__name__)

_COUNTER = EstimatedTokens(cautious=True)
"""Counts the tokens in which limits are measured."""

SAMPLE = (
    "a red bicycle",
    "The train to the coast leaves at noon.",
    "How do I get my money back?",
    "Das Wetter wird morgen besser.",
    "def area(width, height): return width * height",
    "Interest rates rose for the third time this year.",
    "猫が窓のそばで眠っている。",
    "She asked the doctor whether the pills could be taken with milk.",
)
"""Texts whose vectors identify a model; the first one is part of every request."""

_SAME_MODEL_COSINE = 0.999
"""Minimum cosine of one model's vectors for a text: float16 and other batches stay above, an int8 copy may not."""

_COSINE_STEP = 0.05
"""Cosines are rounded to multiples of this for a digest; float16 changes them by less than 0.001."""

_LENGTHS = tuple(round(64 * 2 ** (step / 4)) for step in range(21))
"""Lengths of pairs in estimated tokens, 64 to 2,048. Coarse, so that a model has the same limit on every machine."""

_END_SHARE = 1 / 8
"""Share of a text that is its end, in which the two texts of a pair differ."""

_LIMIT_SHARE = 0.92
"""The limit as a share of the length read: some texts have more tokens per estimated token than the fillers."""

_END_READ_DISTANCE = 1e-4
"""Minimum cosine distance of a pair whose end was read, at least in part; rounding causes a hundredth of it."""

_PROBE_SECONDS = 180.0
"""Longest time for a pair: what the largest models take on a few cores."""

_TOO_LONG_STATUS = 500
"""Status with which llama.cpp rejects a text that is too long for it."""

_ENDS = ("red green apple pear fruit juice garden tree", "train depart noon coast ticket seat rail platform")

_WORDS = "przeszczep työttömyyskorvaus Versicherungsgesellschaft gwrthddywediad čtvrthodinka zmrzlina 7f3Kq9Zt2x-B8e41d"
_SYMBOLS = "🚲🍎🐈🌧️🎻🧭🪁🛶🫖 ᚠᛇᚻ ภาษาไทยไม่มีช่องว่าง ሰላም ქართული ᠮᠣᠩᠭᠣᠯ 𠮷野家 བོད་སྐད།"
"""Fillers that have many tokens for their length under some tokenizers. The ends are plain, to differ under all."""

Over = Literal["cut", "refused", "read"]
"""Treatment of a text over the limit: its end is not read, the server answers with an error, or it is read."""


class RemoteModel(BaseModel):
    """A remote model as the probe found it.

    Attributes:
        digest: Identifies the model among those of the same name; 64 hexadecimal digits.
        dimensions: Length of a vector.
        normalised: Whether vectors have length 1.
        length: Length of the longest pair that the model read, in estimated tokens; one of ``_LENGTHS``.
        over: Treatment of longer texts.
        sample: The model's vectors for ``SAMPLE``.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    dimensions: int
    normalised: bool
    length: int
    over: Over
    sample: list[list[float]]

    @property
    def limit(self) -> int:
        """Estimated tokens up to which a text is read to its end."""
        fits = 1.0 if self.over == "refused" else 1 - _END_SHARE  # otherwise perhaps only a part of the end was read
        return int(self.length * fits * _LIMIT_SHARE)

    def matches(self, vectors: Vectors) -> bool:
        """Return whether these vectors of the first texts of ``SAMPLE`` are from this model."""
        sample = np.array(self.sample[: len(vectors)], dtype=np.float32)
        return sample.shape == vectors.shape and bool(paired_cosines(sample, vectors).min() >= _SAME_MODEL_COSINE)


def identify(client: RemoteClient, folder: Path, progress: Callable[[str], None]) -> RemoteModel:
    """Identify the model that answers; a new one is probed and stored.

    Args:
        client: Asked a few times at most, so that an unreachable server is reported soon.
        folder: Folder of the stored models, with one file per name.
        progress: Called with each stage.

    Raises:
        RemoteEngineError: The server does not answer with vectors.
    """
    vectors = client.embed(SAMPLE, attempts=3)
    path = folder / f"{hashlib.sha256(client.model.encode()).hexdigest()[:16]}.json"
    stored = _read(path)
    progress("finding out how much of a text the remote model reads")
    matching = [model for model in stored if model.matches(vectors)]
    for model in matching:
        if _outcome(client, _WORDS, model.length) == "read":  # the server's limit may have been lowered
            return model
    if stored and not matching:
        _log.warning("another model than before answers under the name %r", client.model)
    length, over = _longest_read(client)
    found = RemoteModel(
        digest=matching[0].digest if matching else _digest(vectors, {model.digest for model in stored}),
        dimensions=vectors.shape[1],
        normalised=bool(np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=0.005)),
        length=length,
        over=over,
        sample=vectors.tolist(),
    )
    others = [model for model in stored if (model.digest, model.length) != (found.digest, found.length)]
    _write(path, [*others, found])
    return found


def _digest(vectors: Vectors, taken: set[str]) -> str:
    """Return a digest of the cosines between neighbouring texts, different from those of other models."""
    steps = np.round(paired_cosines(vectors, np.roll(vectors, 1, axis=0)) / _COSINE_STEP).astype(int).tolist()
    candidates = ([vectors.shape[1], steps, number] for number in itertools.count())
    digests = (hashlib.sha256(json.dumps(candidate).encode()).hexdigest() for candidate in candidates)
    return next(digest for digest in digests if digest not in taken)


def _longest_read(client: RemoteClient) -> tuple[int, Over]:
    """Return the length of the longest pair that is read with either filler, and the treatment of longer texts."""
    over: Over = "read"
    best = len(_LENGTHS) - 1
    for filler in (_WORDS, _SYMBOLS):
        read, unread = -1, best + 1
        middle = best  # the longest one still possible first: a server that cuts spends no more on it
        while unread - read > 1:
            outcome = _outcome(client, filler, _LENGTHS[middle])
            if outcome == "read":
                read = middle
            else:
                unread, over = middle, outcome
            middle = (read + unread) // 2
        best = max(read, 0)
    return _LENGTHS[best], over


def _outcome(client: RemoteClient, filler: str, length: int) -> Over:
    """Return how the server treats the end of texts of ``length`` estimated tokens."""
    beginning = _repeated(filler, round(length * (1 - _END_SHARE)))
    pair = [f"{beginning} {_repeated(end, round(length * _END_SHARE))}" for end in _ENDS]
    try:
        left, right = client.embed(pair, attempts=4, seconds=_PROBE_SECONDS)
    except RemoteRefusalError:
        return "refused"
    except RemoteUnavailableError as error:
        if error.status != _TOO_LONG_STATUS:  # the server may be busy, which says nothing about the text
            raise
        return "refused"
    return "read" if 1 - float(paired_cosines(left[None], right[None])[0]) > _END_READ_DISTANCE else "cut"


def _repeated(text: str, tokens: int) -> str:
    """Repeat the words of a text up to a number of estimated tokens."""
    words = text.split()
    words *= tokens // sum(_COUNTER.count(words)) + 1
    totals = itertools.accumulate(_COUNTER.count(words))
    return " ".join(word for word, total in zip(words, totals, strict=True) if total <= tokens)


def _read(path: Path) -> list[RemoteModel]:
    try:
        return _STORED_MODELS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        _log.warning("the stored remote models cannot be read from %s (%s)", path, type(error).__name__)
        return []


def _write(path: Path, models: list[RemoteModel]) -> None:
    try:
        with atomic_write(path) as file:
            file.write(_STORED_MODELS.dump_json(models))
    except OSError as error:
        _log.warning("the remote models cannot be stored in %s (%s)", path, error.strerror)


_STORED_MODELS = TypeAdapter(list[RemoteModel])
