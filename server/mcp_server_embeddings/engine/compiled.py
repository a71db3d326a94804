"""The compiled encoder: a graph on OpenVINO, in a process without torch."""

import queue
from collections.abc import Sequence

import numpy as np

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.encoder import Agreement, Piece
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.runtime import SHAPES, openvino
from mcp_server_embeddings.vectors.scores import Vectors

_FIRST_PIECE = Piece("", "symmetric", [0])
"""The shortest input; every vocabulary has a token 0."""


_COMPUTE_TYPE: dict[Precision, str] = {"exact": "f32", "bf16": "bf16", "int8": "f32"}
"""What the runtime computes with. It must be said: where the processor has bf16 the runtime uses it unasked."""


class CompiledEncoder:
    """Encodes with a graph from token ids to vectors.

    Each stream is one infer request on one thread of its own: independent streams do not wait for each other
    at barriers, which on a busy machine costs more than the second thread brings.

    Args:
        graph: A graph, or the path of a saved one.
        identity: Of the model.
        tokenizer_json: In the format of the ``tokenizers`` library.
        mapped: The files that hold the graph's weights.
        precision: What the graph is for.
        agreement: How near its vectors are to exact ones; None where it is exact.
        streams: How many batches may run at once, each on one thread.
    """

    engine = "compiled"
    device = "cpu"

    def __init__(
        self,
        graph: "openvino.Model | str",
        identity: ModelIdentity,
        tokenizer_json: str,
        mapped: MappedFiles,
        *,
        precision: Precision = "exact",
        agreement: Agreement | None = None,
        streams: int = 1,
    ) -> None:
        self.identity = identity
        self.tokenizer_json = tokenizer_json
        self.precision: Precision = precision
        self.agreement = agreement
        self.streams = streams
        self._mapped = mapped
        compiled = openvino.Core().compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _COMPUTE_TYPE[precision],
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": streams,
                "ENABLE_CPU_PINNING": False,
                "ENABLE_MMAP": True,
                "CPU_RUNTIME_CACHE_CAPACITY": SHAPES,
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
        self._mapped.raise_if_changed()
        request = self._requests.get()
        try:
            request.infer({name: given[name] for name in self._inputs}, share_inputs=True)
            vectors: Vectors = np.array(request.get_output_tensor(0).data, dtype=np.float32)
        finally:
            self._requests.put(request)
        self._mapped.raise_if_changed()
        return vectors
