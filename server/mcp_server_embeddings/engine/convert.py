"""Convert a model, in a separate process: ``python -m mcp_server_embeddings.engine.convert``.

Arguments: the located model as JSON, the precision, the folder to create. Each line on standard output is a stage.
The process ends when its standard input closes, so it ends with the process that started it.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server_embeddings.config import PRECISIONS, Precision
from mcp_server_embeddings.engine.agreement import measure_agreement
from mcp_server_embeddings.engine.artifact import (
    GRAPH_FILE,
    GRAPH_WEIGHTS_FILE,
    TOKENIZER_FILE,
    ConversionError,
    Manifest,
    refusal,
)
from mcp_server_embeddings.engine.compiled import CompiledEncoder
from mcp_server_embeddings.engine.encoder import Agreement, Encoder
from mcp_server_embeddings.engine.locate import LocatedModel, verify_weights
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.native.files import UnsupportedModelError, read_model
from mcp_server_embeddings.engine.native.sentence import native_model
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.engine.runtime import cpu_can_bf16, openvino
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.private import make_folder

if TYPE_CHECKING:
    import torch


def convert(model: LocatedModel, precision: Precision, folder: Path) -> Iterator[str]:
    """Convert ``model`` into ``folder``; yields each stage before it begins.

    Raises:
        ConversionError: The precision is not available on this machine.
    """
    if precision == "bf16" and not cpu_can_bf16():
        raise ConversionError("this processor has no bf16; use --precision exact or int8")
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    make_folder(temporary)
    try:
        yield "building its graph"
        mapped = model.mapped_files()
        native = native_model(read_model(model))
        graph, tokenizer_json = native.graph, native.tokenizer_json
        exact: Encoder = CompiledEncoder(graph, native.identity, mapped)
    except UnsupportedModelError:
        yield "loading it with sentence-transformers"
        reference = ReferenceEncoder(model, "cpu", threads=1)
        if reason := _unconvertible(reference):
            Manifest(reference.identity, precision, Agreement(0, 0, 0), f"{model.name!r} {reason}").write(temporary)
            temporary.rename(folder)
            return
        yield "tracing it"
        graph, tokenizer_json, exact = _traced(reference), reference.tokenizer_json, reference
    verify_weights(model)
    if precision == "int8":
        yield "compressing its weights to int8"
        graph = _compressed(graph)
    openvino.save_model(graph, temporary / GRAPH_FILE, compress_to_fp16=False)
    (temporary / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    del graph
    yield "checking its vectors"
    weights = MappedFiles([temporary / GRAPH_WEIGHTS_FILE])
    encoder = CompiledEncoder(str(temporary / GRAPH_FILE), exact.identity, weights, precision=precision)
    counter = TextTokenizer(tokenizer_json, exact.identity.prompts, exact.identity.max_tokens)
    agreement = measure_agreement(encoder, exact, counter)
    Manifest(exact.identity, precision, agreement, refusal(precision, agreement)).write(temporary)
    with contextlib.suppress(FileExistsError):  # another process wrote the same content first
        temporary.rename(folder)


def _unconvertible(reference: ReferenceEncoder) -> str:
    """Name a step that a graph from tokens to vectors cannot do; empty if the model can be converted."""
    if not reference.pools_prompts:
        return "leaves its prompt out of pooling, which is not converted"
    return "shortens its vectors, which is not converted" if reference.model.truncate_dim is not None else ""


def _traced(reference: ReferenceEncoder) -> "openvino.Model":
    import torch
    from openvino.tools.ovc import convert_model

    module = _sentence_module(reference)
    ids = torch.ones((2, 7), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with torch.inference_mode():
        return convert_model(module, example_input=(ids, mask, torch.zeros_like(ids)))


def _sentence_module(reference: ReferenceEncoder) -> "torch.nn.Module":
    """Wrap all modules of a model in one, from token ids to sentence vectors."""
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


def _end_with_parent(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os._exit(1)


def _watch_parent() -> None:
    """End this process when the parent's end of standard input closes.

    The pipe is first moved away from descriptor 0: on Windows, an import that queries the type of standard input would
    wait for the thread that reads it.
    """
    pipe = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()


def main() -> None:
    """Run one conversion; on failure the last line on standard error is the reason."""
    _watch_parent()
    located, precision_name, folder = sys.argv[1:]
    precision = next(known for known in PRECISIONS if known == precision_name)
    name, path, sha256, matryoshka = json.loads(located)
    model = LocatedModel(name, Path(path), sha256, tuple(matryoshka))
    try:
        for stage in convert(model, precision, Path(folder)):
            sys.stdout.write(stage + "\n")
            sys.stdout.flush()
    except EmbeddingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # tearing torch down takes seconds


if __name__ == "__main__":
    main()
