"""Check Python and the packages that determine which features are available."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from mcp_server_embeddings.doctor.report import Finding
from mcp_server_embeddings.program import DISTRIBUTION, VERSION

_PACKAGES = ("mcp", "numpy", "openvino", "tokenizers", "sentence-transformers", "torch")

_OPTIONAL = ("sentence-transformers", "torch")
"""Packages that an installation may leave out; see docs/installation.md."""


def examine_installation() -> list[Finding]:
    """Report the versions of Python and of the packages."""
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    python = f"{DISTRIBUTION} {VERSION} on Python {platform.python_version()}, {system}, at {sys.prefix}"
    versions = {name: _version(name) for name in _PACKAGES}
    summary = ", ".join(f"{name} {installed or 'not installed'}" for name, installed in versions.items())
    if any(versions[name] is None for name in _OPTIONAL):
        summary += "; without these two: no GPU, no --engine reference, and only models that are built from their files"
    missing = [name for name, installed in versions.items() if installed is None and name not in _OPTIONAL]
    advice = f"pip install {' '.join(missing)}" if missing else ""
    return [
        Finding("python", "ok", python, figures={"version": VERSION, "python": platform.python_version()}),
        Finding("packages", "problem" if missing else "ok", summary, advice, figures=versions),
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
