"""OpenVINO, the compiled encoder's runtime, without its telemetry.

Importing ``openvino``, its converter or nncf sends an event over the network if the package ``openvino_telemetry`` can
be imported; otherwise they use a stub. So this module first makes that package unimportable. Import OpenVINO only
through this module.
"""

import hashlib
import os
import queue
import sys
from collections.abc import Sequence
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.mapped import MappedFiles

_SHAPES = 128
"""Number of input shapes for which compiled primitives are cached. Every combination of batch size and length is a
different shape, and by default OpenVINO caches 5,000 and oneDNN 1,024: memory grew by 10 to 18 MB per minute of mixed
calls. Limiting both to 128 costs about 2 % of throughput if every shape is new (`benchmarks/soak.py`)."""

# oneDNN reads this when the library is loaded.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_SHAPES))
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None makes an import fail

# openvino imports its converter for convenience, which takes a third of the time; convert.py imports it explicitly.
_CONVERTER = "openvino.tools.ovc"
sys.modules[_CONVERTER] = None  # type: ignore[assignment]

import openvino  # noqa: E402 - must follow the lines above
from openvino import Node  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

del sys.modules[_CONVERTER]

__all__ = ["CompiledGraph", "Node", "cpu_can_bf16", "openvino", "ops", "runtime_key"]


def _cpu_features() -> tuple[str, ...]:
    """List the processor features that the runtime uses, sorted; part of the key of a converted model."""
    features: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(sorted(features))


def runtime_key() -> str:
    """Hash everything that determines the runtime's results: its version and the processor's features."""
    return hashlib.sha256("\0".join((metadata.version("openvino"), *_cpu_features())).encode()).hexdigest()


def cpu_can_bf16() -> bool:
    """Return whether this processor multiplies bf16 in hardware."""
    return "BF16" in _cpu_features()


_COMPUTE_TYPE: dict[Precision, str] = {"exact": "f32", "bf16": "bf16", "int8": "f32"}
"""Set explicitly, because the runtime by default uses bf16 if the processor supports it."""


class CompiledGraph:
    """A graph compiled for the CPU, which ``streams`` threads may run at once.

    Args:
        graph: A graph from token ids, or the path of a saved one.
        mapped: The files that hold its weights.
        precision: Precision of the graph.
        streams: Number of batches that may run at once, each on one thread.
    """

    def __init__(
        self, graph: "openvino.Model | str", mapped: MappedFiles, precision: Precision = "exact", *, streams: int
    ) -> None:
        properties = {
            "INFERENCE_PRECISION_HINT": _COMPUTE_TYPE[precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,
            "ENABLE_MMAP": True,
            "CPU_RUNTIME_CACHE_CAPACITY": _SHAPES,
        }
        compiled = openvino.Core().compile_model(graph, "CPU", properties)
        self._mapped = mapped
        self._inputs = [port.get_any_name() for port in compiled.inputs]
        self._requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())
        # OpenVINO's bindings initialise numpy on the first call, where two threads at once can deadlock.
        self.run([[0]])  # every vocabulary has a token 0

    def run(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] = ()) -> NDArray[np.float32]:
        """Run one batch.

        Args:
            ids: Token ids of each input, one or more.
            types: Their token types; by default all are 0.

        Returns:
            The graph's output, one row per input.

        Raises:
            ModelChangedError: A file with weights has changed.
        """
        shape = len(ids), max(len(row) for row in ids)
        tensors = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        for number, row in enumerate(ids):
            tensors["input_ids"][number, : len(row)] = row
            tensors["attention_mask"][number, : len(row)] = 1
        for number, row in enumerate(types):
            tensors["token_type_ids"][number, : len(row)] = row
        request = self._requests.get()
        try:
            self._mapped.raise_if_changed()
            request.infer({name: tensors[name] for name in self._inputs}, share_inputs=True)
            output: NDArray[np.float32] = np.array(request.get_output_tensor(0).data, np.float32)
        finally:
            self._requests.put(request)
        self._mapped.raise_if_changed()
        return output
