"""Converting a model, in a process of its own: ``python -m mcp_server_embeddings.engine.convert``.

Arguments: the located model as JSON, the precision, the folder to make. Each line on standard output is a stage.
The process ends when its standard input closes, that is, with the process that started it.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcp_server_embeddings.config import PRECISIONS, Precision
from mcp_server_embeddings.engine.artifact import (
    MINIMUM_COSINE,
    MODEL_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    ConversionError,
    Manifest,
)
from mcp_server_embeddings.engine.calibrate import reference_groups
from mcp_server_embeddings.engine.compiled import CompiledEncoder
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, Piece
from mcp_server_embeddings.engine.locate import LocatedModel
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.engine.runtime import cpu_can_bf16, openvino
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.vectors.similarity import Vectors, scores, unit_rows

if TYPE_CHECKING:
    import torch

_PROBE_GROUPS = 48
"""Groups of the reference set whose statement and paraphrase are probes."""

_BATCH = 8


def convert(model: LocatedModel, precision: Precision, folder: Path) -> Iterator[str]:
    """Convert ``model`` into ``folder``; yields what it is about to do.

    Raises:
        ConversionError: The precision is not to be had here.
    """
    if precision == "bf16" and not cpu_can_bf16():
        raise ConversionError("this processor has no bf16; use --precision exact or int8")
    yield "loading it with sentence-transformers"
    reference = ReferenceEncoder(model, "cpu", threads=1)
    if not reference.pools_prompts:
        raise ConversionError(f"{model.name!r} leaves its prompt out of pooling, which is not converted")
    work = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    work.mkdir(parents=True)
    yield "tracing it"
    graph = _traced(reference)
    if precision == "int8":
        yield "compressing its weights to int8"
        graph = _compressed(graph)
    openvino.save_model(graph, work / MODEL_FILE, compress_to_fp16=False)
    (work / TOKENIZER_FILE).write_text(reference.tokenizer_json, encoding="utf-8")
    del graph
    yield "checking it against sentence-transformers"
    with (work / WEIGHTS_FILE).open("rb") as weights:
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    unchecked = Manifest(reference.identity, precision, Agreement(0, 0, 0), sha256)
    agreement = _agreement(CompiledEncoder(work, unchecked, streams=1), reference)
    Manifest(reference.identity, precision, agreement, sha256, _refusal(precision, agreement)).write(work)
    with contextlib.suppress(FileExistsError):  # another process was first, with the same content
        work.rename(folder)


def _refusal(precision: Precision, agreement: Agreement) -> str:
    if precision == "exact" and agreement.minimum_cosine < MINIMUM_COSINE:
        return (
            f"the converted model's vectors differ from those of sentence-transformers (lowest cosine "
            f"{agreement.minimum_cosine:.6f}, wanted {MINIMUM_COSINE})"
        )
    return ""


def _traced(reference: ReferenceEncoder) -> "openvino.Model":
    import torch

    module = _sentence_module(reference)
    ids = torch.ones((2, 7), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with torch.inference_mode():
        return openvino.convert_model(module, example_input=(ids, mask, torch.zeros_like(ids)))


def _sentence_module(reference: ReferenceEncoder) -> "torch.nn.Module":
    """From token ids to sentence vectors: transformer, pooling and what else the model has."""
    import torch

    class SentenceModule(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = reference.model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
        ) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            vectors: torch.Tensor = self.model(features)["sentence_embedding"]
            return vectors

    return SentenceModule().eval()


def _compressed(graph: "openvino.Model") -> "openvino.Model":
    try:
        import nncf
    except ImportError as error:
        raise ConversionError(
            "int8 needs the package nncf; install it with: pip install 'mcp-server-embeddings[int8]'"
        ) from error
    return nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM)


def _agreement(compiled: Encoder, reference: Encoder) -> Agreement:
    pieces = _probes(reference)
    ours, theirs = _encoded(compiled, pieces), _encoded(reference, pieces)
    cosines = (unit_rows(ours).astype(np.float64) * unit_rows(theirs)).sum(axis=1)
    kept = _nearest(ours) == _nearest(theirs)
    return Agreement(float(cosines.min()), float(cosines.mean()), float(kept.mean()))


def _probes(encoder: Encoder) -> list[Piece]:
    """Short and middling texts of the reference set, and one text of the longest length the model reads."""
    groups = reference_groups()[:: max(1, len(reference_groups()) // _PROBE_GROUPS)]
    texts = [group[column] for group in groups for column in ("statement", "paraphrase")]
    texts.append(" ".join(texts))
    tokenizer = TextTokenizer(encoder.tokenizer_json, encoder.identity.prompts, encoder.identity.max_tokens)
    return [piece for text in tokenizer.tokenize(texts, "symmetric", "truncate") for piece in text.pieces]


def _encoded(encoder: Encoder, pieces: Sequence[Piece]) -> Vectors:
    """In small batches of mixed lengths, so that padding is part of what is checked."""
    batches = [encoder.encode(pieces[i : i + _BATCH]) for i in range(0, len(pieces), _BATCH)]
    return np.concatenate(batches)


def _nearest(vectors: Vectors) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    values = scores(vectors, vectors, "cosine")
    np.fill_diagonal(values, -np.inf)
    nearest: np.ndarray[tuple[int], np.dtype[np.intp]] = values.argmax(axis=1)
    return nearest


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Run one conversion; the last line on standard error is the reason of a failure."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    located, precision_name, folder = sys.argv[1:]
    precision = next(known for known in PRECISIONS if known == precision_name)
    fields = json.loads(located)
    model = LocatedModel(**{**fields, "folder": Path(fields["folder"]), "matryoshka": tuple(fields["matryoshka"])})
    try:
        for stage in convert(model, precision, Path(folder)):
            sys.stdout.write(stage + "\n")
            sys.stdout.flush()
    except ConversionError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # tearing torch down takes seconds


if __name__ == "__main__":
    main()
