"""The package as users install it: built, and put into an environment of its own."""

import site
import subprocess
import sys
import venv
from pathlib import Path

from wire import PATIENCE

ROOT = Path(__file__).parent.parent


def built_wheel(folder: Path) -> Path:
    """The project's wheel."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(ROOT)], capture_output=True, text=True, timeout=PATIENCE, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """The installed program; what the package depends on is that of this environment, by its path."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, str(wheel)], capture_output=True, text=True, timeout=PATIENCE, check=True)
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return folder / "bin" / "mcp-server-embeddings"
