"""OpenVINO, the compiled encoder's runtime, without its telemetry.

Importing ``openvino`` sends an event over the network when the package ``openvino_telemetry`` can be imported,
and so do its converter and nncf. All three fall back to a stub when it cannot, so it is made unimportable
before. Import OpenVINO only through this module.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # what Python looks up to refuse an import

import openvino  # noqa: E402 - after the line above, and only then

__all__ = ["cpu_can_bf16", "cpu_features", "openvino"]


def cpu_features() -> tuple[str, ...]:
    """What the runtime finds in this processor, sorted; part of the key of a converted model."""
    features: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(sorted(features))


def cpu_can_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware."""
    return "BF16" in cpu_features()
