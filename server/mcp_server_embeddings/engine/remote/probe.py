"""What a remote engine does not tell: which model answers, and how much of a text it reads.

A model is recognised by its vectors for a few fixed texts. They are kept, since two runs of one model differ slightly:
vectors that are near to kept ones are of that model. Without kept ones, its digest is made of rounded cosines, which
other machines find too.

How much is read is found with pairs of texts that differ only at their end: where both have the same vector, the end
was not read.
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
from mcp_server_embeddings.private import replaced
from mcp_server_embeddings.vectors.scores import Vectors, paired_cosines

_log = logging.getLogger(__name__)

COUNTER = EstimatedTokens(cautious=True)
"""In its tokens limits are measured."""

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
"""What a model is recognised by; the first one goes with every request."""

_SAME = 0.999
"""Cosine of two vectors of one text and model: float16 and other batches stay above, an int8 copy may not."""

_STEP = 0.05
"""To which cosines are rounded for a digest; float16 changes them by less than 0.001."""

_LENGTHS = tuple(round(64 * 2 ** (step / 4)) for step in range(21))
"""Estimated tokens of a pair of texts, 64 to 2,048. Coarse, so that one model has one limit on every machine."""

_END = 1 / 8
"""Of a text: where the two of a pair differ."""

_MARGIN = 0.92
"""Of what was read: some texts have more tokens than the fillers for what is estimated."""

_MOVED = 1e-4
"""One minus the cosine of a pair of which the end was read, in part at least; rounding gives a hundredth of it."""

_PROBE_SECONDS = 180.0
"""For a pair: what the largest models take on a few cores."""

_CANNOT = 500
"""The status with which llama.cpp answers a text that is too long for it."""

_ENDS = ("red green apple pear fruit juice garden tree", "train depart noon coast ticket seat rail platform")

_WORDS = "przeszczep työttömyyskorvaus Versicherungsgesellschaft gwrthddywediad čtvrthodinka zmrzlina 7f3Kq9Zt2x-B8e41d"
_SIGNS = "🚲🍎🐈🌧️🎻🧭🪁🛶🫖 ᚠᛇᚻ ภาษาไทยไม่มีช่องว่าง ሰላም ქართული ᠮᠣᠩᠭᠣᠯ 𠮷野家 བོད་སྐད།"
"""What has many tokens for its letters under one tokenizer or another. The ends are plain: they differ under all."""

Over = Literal["cut", "refused", "read"]
"""What becomes of a text over the limit: its end is not read, the server answers with an error, or it is read."""


class RemoteModel(BaseModel):
    """What was found out about a model.

    Attributes:
        digest: Stands for the model among those of its name; 64 hexadecimal digits.
        dimensions: Length of a vector.
        normalised: Whether vectors have length 1.
        length: Of the longest pair that it read, in estimated tokens; one of ``_LENGTHS``.
        over: What becomes of longer ones.
        sample: Its vectors for ``SAMPLE``.
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
        """Estimated tokens of a text that is read to its end."""
        fits = 1.0 if self.over == "refused" else 1 - _END  # of the end a part was read, but perhaps not all
        return int(self.length * fits * _MARGIN)

    def is_near(self, vectors: Vectors) -> bool:
        """Tell whether these vectors for the first texts of ``SAMPLE`` are this model's."""
        kept = np.array(self.sample[: len(vectors)], dtype=np.float32)
        return kept.shape == vectors.shape and bool(paired_cosines(kept, vectors).min() >= _SAME)


def recognised(client: RemoteClient, folder: Path, progress: Callable[[str], None]) -> RemoteModel:
    """Return what is known of the model that answers; one that is met for the first time is probed and kept.

    Args:
        client: Asked a few times at most, so that a server that is not there is told soon.
        folder: Where models are kept, a file for each name.
        progress: Called with each stage.

    Raises:
        RemoteEngineError: The server does not answer with vectors.
    """
    vectors = client.embed(SAMPLE, attempts=3)
    path = folder / f"{hashlib.sha256(client.model.encode()).hexdigest()[:16]}.json"
    known = _read(path)
    progress("finding out how much of a text the remote model reads")
    same = [model for model in known if model.is_near(vectors)]
    for model in same:
        if _outcome(client, _WORDS, model.length) == "read":  # a server may have been set to cut sooner
            return model
    if known and not same:
        _log.warning("another model than before answers under the name %r", client.model)
    length, over = _longest(client)
    found = RemoteModel(
        digest=same[0].digest if same else _digest(vectors, {model.digest for model in known}),
        dimensions=vectors.shape[1],
        normalised=bool(np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=0.005)),
        length=length,
        over=over,
        sample=vectors.tolist(),
    )
    others = [model for model in known if (model.digest, model.length) != (found.digest, found.length)]
    _write(path, [*others, found])
    return found


def _digest(vectors: Vectors, taken: set[str]) -> str:
    """Return a digest of the cosines between neighbouring texts, and not one that another model has."""
    steps = np.round(paired_cosines(vectors, np.roll(vectors, 1, axis=0)) / _STEP).astype(int).tolist()
    number = 0
    while True:
        digest = hashlib.sha256(json.dumps([vectors.shape[1], steps, number]).encode()).hexdigest()
        if digest not in taken:
            return digest
        number += 1


def _longest(client: RemoteClient) -> tuple[int, Over]:
    """Return the length of the longest pair that is read, whatever is in it, and what becomes of longer texts."""
    over: Over = "read"
    best = len(_LENGTHS) - 1
    for filler in (_WORDS, _SIGNS):
        read, unread = -1, best + 1
        middle = best  # first the longest that is still possible: a server that cuts spends no more on it
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
    """Tell what becomes of the end of a text of some estimated tokens."""
    beginning = _repeated(filler, round(length * (1 - _END)))
    pair = [f"{beginning} {_repeated(end, round(length * _END))}" for end in _ENDS]
    try:
        left, right = client.embed(pair, attempts=4, seconds=_PROBE_SECONDS)
    except RemoteRefusalError:
        return "refused"
    except RemoteUnavailableError as error:
        if error.status != _CANNOT:  # it may be busy, which tells nothing of the text
            raise
        return "refused"
    return "read" if 1 - float(paired_cosines(left[None], right[None])[0]) > _MOVED else "cut"


def _repeated(text: str, tokens: int) -> str:
    """Repeat the words of a text up to a number of estimated tokens."""
    words = text.split()
    words *= tokens // sum(COUNTER.count(words)) + 1
    totals = itertools.accumulate(COUNTER.count(words))
    return " ".join(word for word, total in zip(words, totals, strict=True) if total <= tokens)


def _read(path: Path) -> list[RemoteModel]:
    try:
        return _KEPT.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        _log.warning("what is known of remote models cannot be read from %s (%s)", path, type(error).__name__)
        return []


def _write(path: Path, models: list[RemoteModel]) -> None:
    try:
        with replaced(path) as file:
            file.write(_KEPT.dump_json(models))
    except OSError as error:
        _log.warning("what is known of remote models cannot be written to %s (%s)", path, error.strerror)


_KEPT = TypeAdapter(list[RemoteModel])
