"""What a figure was measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "mcp",
    "uvicorn",
    "starlette",
    "torch",
    "sentence-transformers",
    "transformers",
    "openvino",
    "fastembed",
    "onnxruntime",
    "numpy",
    "numkong",
    "scipy",
    "scikit-learn",
)


def processor() -> str:
    """The processor's name where Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine() -> str:
    """One line on the hardware and the system."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def peak_memory(pid: int) -> int:
    """The largest resident size of a process so far, in bytes; ``ru_maxrss`` begins with its parent's at the fork."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def versions() -> str:
    """One line on the packages, those that are installed."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
