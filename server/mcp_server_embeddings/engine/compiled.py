"""The compiled encoder: a graph on OpenVINO, in a process without torch."""

import queue
from collections.abc import Sequence

import numpy as np

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.encoder import Agreement, EncoderInput
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.runtime import compile_graph, openvino
from mcp_server_embeddings.vectors.scores import Vectors

_FIRST_INPUT = EncoderInput("", "symmetric", 1, [0])
"""The shortest input; every vocabulary has a token 0."""


class CompiledEncoder:
    """Encodes with a graph from token ids to vectors.

    Each stream is one infer request on one thread of its own: independent streams do not wait for each other
    at barriers, which on a busy machine costs more than the second thread brings.

    Args:
        graph: A graph, or the path of a saved one.
        identity: The model's.
        mapped: The files that hold the graph's weights.
        precision: What the graph was built for.
        agreement: With exact vectors; None where the graph is exact.
        streams: How many batches may run at once, each on one thread.
    """

    engine = "compiled"
    device = "cpu"
    batch_tokens = 512
    """256 to 1,024 have the same throughput (docs/benchmarks.md)."""

    def __init__(
        self,
        graph: "openvino.Model | str",
        identity: ModelIdentity,
        mapped: MappedFiles,
        *,
        precision: Precision = "exact",
        agreement: Agreement | None = None,
        streams: int = 1,
    ) -> None:
        self.identity = identity
        self.precision: Precision = precision
        self.agreement = agreement
        self.streams = streams
        self._mapped = mapped
        compiled = compile_graph(graph, precision, streams=streams, threads=streams)
        self._inputs = [port.get_any_name() for port in compiled.inputs]
        self._requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())
        # Once on this thread alone: OpenVINO's bindings prepare their use of numpy on the first call, and when two
        # threads make it at once, each can wait for what the other holds (one for the interpreter's lock), for ever.
        self.encode([_FIRST_INPUT])

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``."""
        width = max(len(text.ids) for text in inputs)
        ids = np.zeros((len(inputs), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(inputs):
            ids[row, : len(text.ids)] = text.ids
            mask[row, : len(text.ids)] = 1
        tensors = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        self._mapped.raise_if_changed()
        request = self._requests.get()
        try:
            request.infer({name: tensors[name] for name in self._inputs}, share_inputs=True)
            vectors: Vectors = np.array(request.get_output_tensor(0).data, dtype=np.float32)
        finally:
            self._requests.put(request)
        self._mapped.raise_if_changed()
        return vectors
