"""The compiled encoder, which runs a graph on OpenVINO and never imports torch."""

from collections.abc import Sequence

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, EncoderInput
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.runtime import CompiledGraph, openvino
from mcp_server_embeddings.vectors.scores import Vectors


class CompiledEncoder(Encoder):
    """Encodes with a graph from token ids to vectors.

    Each stream is an infer request with its own thread. Independent streams do not wait for each other at barriers; on
    a busy machine, such waits cost more than a second thread per batch gains.

    Args:
        graph: A graph, or the path of a saved one.
        identity: Identity of the model.
        mapped: The files that hold the graph's weights.
        precision: Precision of the graph.
        agreement: Agreement with exact vectors; None for an exact graph.
        streams: Number of batches that may run at once, each on one thread.
    """

    engine = "compiled"

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
        self.precision = precision
        self.agreement = agreement
        self.streams = streams
        self._graph = CompiledGraph(graph, mapped, precision, streams=streams)

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``."""
        return self._graph.run([text.ids for text in inputs])
