"""The compiled encoder: a graph on OpenVINO, in a process without torch."""

from collections.abc import Sequence

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, EncoderInput
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.runtime import CompiledGraph, openvino
from mcp_server_embeddings.vectors.scores import Vectors


class CompiledEncoder(Encoder):
    """Encodes with a graph from token ids to vectors.

    Each stream is an infer request with its own thread: independent streams do not wait for each other at barriers,
    which on a busy machine costs more than a second thread gains.

    Args:
        graph: A graph, or the path of a saved one.
        identity: The model's.
        mapped: The files that hold the graph's weights.
        precision: The graph's.
        agreement: With exact vectors; None where the graph is exact.
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
        self._graph = CompiledGraph(graph, mapped, precision, streams=streams, threads=streams)

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``."""
        return self._graph.run([text.ids for text in inputs])
