"""Describe the machine and the packages of a measurement."""

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
    """Return the processor's name, on Linux from ``/proc/cpuinfo``."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine() -> str:
    """Describe the hardware and the system in one line."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def peak_memory(pid: int) -> int:
    """Return the peak resident size of a process in bytes; ``ru_maxrss`` would include its parent's at the fork."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def versions() -> str:
    """List the versions of the installed packages in one line."""
    installed = []
    for name in _PACKAGES:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(installed)
