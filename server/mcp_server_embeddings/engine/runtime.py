"""OpenVINO, the compiled encoder's runtime, without its telemetry.

Importing ``openvino``, its converter or nncf sends an event over the network when the package ``openvino_telemetry``
can be imported; without it they use a stub. So it is made unimportable first. Import OpenVINO only through this module.
"""

import hashlib
import os
import sys
from importlib import metadata

from mcp_server_embeddings.config import Precision

SHAPES = 128
"""Input shapes for which compiled primitives are cached. Every number of texts and tokens is a shape of its own, and by
default OpenVINO caches 5,000 and oneDNN 1,024: memory grew by 10 to 18 MB per minute of mixed calls. Limiting both to
128 costs about 2 % of throughput where every shape is new (`benchmarks/soak.py`)."""

# Read when the library is loaded.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(SHAPES))
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # what Python looks up to refuse an import

# The converter that openvino imports for convenience is a third of its import; convert.py imports it by itself.
_CONVERTER = "openvino.tools.ovc"
sys.modules[_CONVERTER] = None  # type: ignore[assignment]

import openvino  # noqa: E402 - after the lines above, and only then
from openvino import Node  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

del sys.modules[_CONVERTER]

__all__ = ["SHAPES", "Node", "compile_graph", "cpu_can_bf16", "cpu_features", "openvino", "ops", "runtime_key"]


def cpu_features() -> tuple[str, ...]:
    """List what the runtime can use of this processor, sorted; part of the key of a converted model."""
    features: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(sorted(features))


def runtime_key() -> str:
    """Hash what decides how this runtime computes: its version and the processor's features."""
    return hashlib.sha256("\0".join((metadata.version("openvino"), *cpu_features())).encode()).hexdigest()


def cpu_can_bf16() -> bool:
    """Tell whether this processor multiplies bf16 in hardware."""
    return "BF16" in cpu_features()


_COMPUTE_TYPE: dict[Precision, str] = {"exact": "f32", "bf16": "bf16", "int8": "f32"}
"""Set explicitly, because the runtime uses bf16 by default where the processor has it."""


def compile_graph(
    graph: "openvino.Model | str", precision: Precision = "exact", *, streams: int = 1, threads: int = 1
) -> "openvino.CompiledModel":
    """Compile a graph for the CPU.

    Args:
        graph: A graph, or the path of a saved one.
        precision: What the graph was built for.
        streams: How many batches may run at once.
        threads: How many threads the streams share.
    """
    properties = {
        "INFERENCE_PRECISION_HINT": _COMPUTE_TYPE[precision],
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_MMAP": True,
        "CPU_RUNTIME_CACHE_CAPACITY": SHAPES,
    }
    return openvino.Core().compile_model(graph, "CPU", properties)
