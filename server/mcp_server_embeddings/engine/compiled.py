"""The compiled encoder: a converted model on OpenVINO, in a process without torch."""

import queue
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.artifact import BATCH_PRECISION, MODEL_FILE, TOKENIZER_FILE, Manifest
from mcp_server_embeddings.engine.encoder import Piece
from mcp_server_embeddings.engine.runtime import openvino
from mcp_server_embeddings.vectors.similarity import Vectors

_FIRST_PIECE = Piece("", "symmetric", [0])
"""The shortest input; every vocabulary has a token 0."""


class CompiledEncoder:
    """Encodes with a converted model.

    Each stream is one infer request on one thread of its own: independent streams do not wait for each other
    at barriers, which on a busy machine costs more than the second thread brings.

    Args:
        folder: A converted model; see ``artifact``.
        manifest: Its description.
        streams: How many batches may run at once, each on one thread.
    """

    engine = "compiled"
    device = "cpu"

    def __init__(self, folder: Path, manifest: Manifest, streams: int) -> None:
        self.identity = manifest.identity
        self.precision: Precision = manifest.precision
        self.agreement = manifest.agreement
        self.streams = streams
        self.tokenizer_json = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
        compiled = openvino.Core().compile_model(
            str(folder / MODEL_FILE),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": BATCH_PRECISION[manifest.precision],
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": streams,
                "ENABLE_CPU_PINNING": False,
                "ENABLE_MMAP": True,
            },
        )
        self._inputs = [port.get_any_name() for port in compiled.inputs]
        self._requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())
        # Once on this thread alone: OpenVINO's bindings prepare their use of numpy on the first call, and when two
        # threads make it at once, each can wait for what the other holds (one for the interpreter's lock), for ever.
        self.encode([_FIRST_PIECE])

    def encode(self, pieces: Sequence[Piece]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``."""
        width = max(piece.tokens for piece in pieces)
        ids = np.zeros((len(pieces), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, piece in enumerate(pieces):
            ids[row, : piece.tokens] = piece.ids
            mask[row, : piece.tokens] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        request = self._requests.get()
        try:
            request.infer({name: given[name] for name in self._inputs}, share_inputs=True)
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        finally:
            self._requests.put(request)
