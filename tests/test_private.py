"""The data folder and all in it are for their owner only, whatever the umask and whoever makes it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.private import atomic_write, make_folder
from mcp_server_embeddings.tools.embed import embed
from scripts import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")

MAKERS = {
    "collections": """
from mcp_server_embeddings.store.sqlite.store import SqliteStore
store = SqliteStore(folder)
store.open_or_create("notes", "identity", "model@1", 3)
""",
    "cache": """
import numpy as np
from mcp_server_embeddings.engine.cache import CachedText, VectorCache
cache = VectorCache(folder / "cache.sqlite", 1_000_000)
cache.put({b"key": CachedText(np.ones(3, np.float32), 1, "")})
""",
    "calibration": """
import numpy as np
from mcp_server_embeddings.engine.calibrate import calibrations_for
from mcp_server_embeddings.engine.identity import ModelIdentity
identity = ModelIdentity(name="fake", dimensions=8, max_tokens=256, normalised=False)
random = np.random.default_rng(0)
encode = lambda texts, role: random.standard_normal((len(texts), 8)).astype(np.float32)
calibrations_for(identity, "exact", folder / "calibration", encode)
""",
    "vectors": """
import numpy as np
from mcp_server_embeddings.tools.embed import _write_vectors
_write_vectors(np.ones((2, 3), np.float32), folder / "vectors", None)
""",
}
SHOW = """
for path in (folder.parent, folder, *folder.rglob("*")):
    print(path.name, oct(path.stat().st_mode & 0o777), path.is_dir())
"""


@pytest.mark.parametrize("umask", [0, 0o022])
@pytest.mark.parametrize("maker", MAKERS)
def test_whoever_makes_the_data_folder_makes_it_private(maker: str, umask: int, tmp_path: Path) -> None:
    begin = f"import os, sys\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\nos.umask({umask})\n"
    shown = [line.split() for line in run(begin + MAKERS[maker] + SHOW, str(tmp_path / "new" / "data")).splitlines()]
    assert len(shown) > 2
    assert [entry for entry in shown if entry[1] != ("0o700" if entry[2] == "True" else "0o600")] == []


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    make_folder(shared)
    make_folder(shared / "below" / "deeper")
    assert [path.stat().st_mode & 0o777 for path in (shared, shared / "below", shared / "below" / "deeper")] == [
        0o755,
        0o700,
        0o700,
    ]


def test_a_folder_cannot_be_made_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_folder(path)


def test_a_file_that_fails_leaves_nothing_and_the_one_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="Object arrays"), atomic_write(path) as file:
        np.save(file, np.array([object()]), allow_pickle=False)
    assert [found.name for found in tmp_path.iterdir()] == ["vectors.npy"]
    assert path.read_bytes() == b"before"


def test_a_failed_file_of_vectors_leaves_no_temporary_file(tmp_path: Path, embedder: Embedder) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "output").mkdir()
    here = Embedder(embedder.lifecycle, embedder.cache, embedder.call, tmp_path)
    embed(here, ["known"])  # so that only the file is written below
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            embed(here, ["known"], save_as="known.npy", output_dir=tmp_path / "output")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "output").iterdir()) == []
