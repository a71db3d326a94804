"""Indexing in the workers of a real Dask scheduler, on loopback, with the real model."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import distributed
import pytest
import trustme

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.records import NewDocument, passage_text
from scripts import command_without
from waiting import wait_until
from wire import PATIENCE, PROGRAM, client_environment

pytestmark = pytest.mark.slow

SERVER = Path(__file__).parents[1] / "server"
PACKAGE = "mcp_server_embeddings"
SECRET = "kumquat"


def environment(**extra: str) -> dict[str, str]:
    """Of every process here; Dask gives up soon."""
    return client_environment(**{"PYTHONPATH": str(SERVER), "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s", **extra})


class Cluster:
    """A scheduler on a free port, and workers of one thread."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(file), *options, **variables)
        wait_until(lambda: file.exists() and file.read_bytes().endswith(b"}"), "a scheduler", pause=0.01)
        self.address: str = json.loads(file.read_text(encoding="utf-8"))["address"]

    @contextmanager
    def worker(self, *options: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run one until the block ends."""
        process = self._start("worker", self.address, "--nthreads", "1", "--no-nanny", *options, **variables)
        try:
            log = self.folder / f"{len(self.processes) - 1}.log"
            wait_until(lambda: "Registered to" in log.read_text(encoding="utf-8"), "a worker", pause=0.02)
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)

    def logs(self) -> str:
        """What all processes wrote."""
        return "".join(path.read_text(encoding="utf-8") for path in self.folder.glob("*.log"))

    def close(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            process.kill()
            process.wait(PATIENCE)

    def _start(self, kind: str, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options, "--host", "127.0.0.1"]
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--no-dashboard"],
                cwd=self.folder,
                env=environment(**variables),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process


@contextmanager
def started(folder: Path, *options: str, **variables: str) -> Iterator[Cluster]:
    cluster = Cluster(folder, *options, **variables)
    try:
        yield cluster
    finally:
        cluster.close()


def write(folder: Path, count: int) -> Path:
    """Documents of one passage each."""
    folder.mkdir()
    for number in range(count):
        text = f"# Number {number}\n\nThe ship with the number {number} leaves the harbour at dawn, with {SECRET}s.\n"
        (folder / f"{number}.md").write_text(text, encoding="utf-8")
    return folder


def index(address: str, source: Path, data_dir: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    """Start the command, in the folder of the source."""
    folder = source if source.is_dir() else source.parent
    return scheduled(address, data_dir, "index", "bulk", str(source), *options, folder=folder, **variables)


def scheduled(
    address: str, data_dir: Path, *command: str, folder: Path | None = None, **variables: str
) -> subprocess.Popen[str]:
    """Start a command whose texts workers encode."""
    return subprocess.Popen(
        [*PROGRAM, *command, "--scheduler", address, "--data-dir", str(data_dir), "--no-cache"],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def printed(process: subprocess.Popen[str]) -> str:
    """The output of a command that went well."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    return output


def refused(process: subprocess.Popen[str]) -> str:
    """The sentence of a command that did not."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, errors.count("\n")) == (2, "", 1), errors
    return errors.removeprefix("mcp-server-embeddings: ").rstrip("\n")


def committed(data_dir: Path) -> int:
    """How many documents are acknowledged."""
    if not data_dir.exists():
        return 0
    return sum(record.documents for record in open_store(Settings(data_dir=data_dir)).list())


def stored(data_dir: Path) -> list[NewDocument]:
    """All that was acknowledged."""
    store = open_store(Settings(data_dir=data_dir))
    return [document for batch in store.open("bulk").batches(100) for document in batch.documents]


def is_encoding(client: "distributed.Client", name: str) -> bool:
    """Tell whether a worker has tasks."""
    workers = client.scheduler_info()["workers"]
    addresses = [address for address, worker in workers.items() if worker["name"] == name]
    return any(client.processing(addresses).values())  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler, to which tests add workers and take them away."""
    with started(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


def certificates(folder: Path) -> dict[str, str]:
    """Make a certificate authority and a certificate of it; return Dask's settings for all three roles."""
    folder.mkdir()
    authority, files = trustme.CA(), {"CA_FILE": folder / "ca.pem"}
    authority.cert_pem.write_to_path(files["CA_FILE"])
    issued = authority.issue_cert("127.0.0.1")
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        files |= {f"{role}__CERT": folder / "cert.pem", f"{role}__KEY": folder / "key.pem"}
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in files.items()}


def without_package(folder: Path) -> dict[str, str]:
    """What makes the package missing in a process."""
    (folder / PACKAGE).mkdir(parents=True)
    line = f'raise ModuleNotFoundError("No module named {PACKAGE!r}")'
    (folder / PACKAGE / "__init__.py").write_text(line, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_workers_encode_what_is_indexed_and_a_second_run_only_what_changed(
    cluster: Cluster, tmp_path: Path, embedder: Embedder
) -> None:
    documents, data_dir = write(tmp_path / "documents", 100), tmp_path / "data"
    with cluster.worker():
        assert printed(index(cluster.address, documents, data_dir)).startswith("100 added, 0 updated, 0 unchanged")
        for document in stored(data_dir)[:20]:
            (chunk,) = document.chunks
            passage = passage_text(chunk.heading, document.text[chunk.start : chunk.stop])
            (vector,) = embedder.embed([passage], role="document").vectors
            assert float(vector @ chunk.vector) >= 0.99999
        (documents / "0.md").write_text("# Other\n\nAnother text.\n", encoding="utf-8")
        assert printed(index(cluster.address, documents, data_dir)).startswith("0 added, 1 updated, 99 unchanged")


def test_a_killed_worker_and_a_killed_command_lose_nothing(cluster: Cluster, tmp_path: Path) -> None:
    count = 1_100
    documents, data_dir = write(tmp_path / "documents", count), tmp_path / "data"
    with cluster.worker("--name", "victim") as victim, cluster.worker():
        first = index(cluster.address, documents, data_dir)
        wait_until(lambda: committed(data_dir) > 0, "a commit", pause=0.05)
        first.kill()
        first.communicate()
        acknowledged = committed(data_dir)
        second = index(cluster.address, documents, data_dir)
        client = distributed.Client(cluster.address, set_as_default=False)  # type: ignore[no-untyped-call]
        with closing(client):
            wait_until(lambda: is_encoding(client, "victim"), "a task of the worker", pause=0.01)
            victim.kill()
        assert printed(second).startswith(f"{count - acknowledged:,} added, 0 updated, {acknowledged:,} unchanged")
        assert len(stored(data_dir)) == count


def test_a_worker_that_cannot_serve_is_refused_with_what_to_do(cluster: Cluster, tmp_path: Path) -> None:
    documents, data_dir = write(tmp_path / "documents", 1), tmp_path / "data"
    told = refused(index(cluster.address, documents, data_dir, DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s"))
    assert told.startswith("the Dask scheduler has no workers; start at least one on each machine")
    with cluster.worker(**without_package(tmp_path / "none")):
        told = refused(index(cluster.address, documents, data_dir))
        assert "No module named" in told
        assert told.endswith("in the environment that starts them")
    (tmp_path / "other.py").write_text(f'import {PACKAGE}.program\n{PACKAGE}.program.VERSION = "0.0.1"\n')
    with cluster.worker("--preload", str(tmp_path / "other.py")):
        told = refused(index(cluster.address, documents, data_dir))
        assert "it has mcp-server-embeddings 0.0.1 and the client 0.1.0; install the same version on both" in told
    assert committed(data_dir) == 0


def test_a_worker_with_another_model_is_refused(
    cluster: Cluster, tmp_path: Path, bge_folder: Path, unnormalised_folder: Path
) -> None:
    documents, data_dir = write(tmp_path / "documents", 1), tmp_path / "data"
    shutil.copytree(bge_folder, documents / "model")
    shutil.copytree(unnormalised_folder, cluster.folder / "model")
    with cluster.worker():
        told = refused(index(cluster.address, documents / "0.md", data_dir, "--model", "./model"))
    assert "its model './model' is model@" in told
    assert told.endswith("give both the same files, and restart the worker")
    assert committed(data_dir) == 0


def test_a_scheduler_that_cannot_serve_is_refused_with_what_to_do(tmp_path: Path) -> None:
    documents, data_dir = write(tmp_path / "documents", 1), tmp_path / "data"
    with started(tmp_path, **without_package(tmp_path / "none")) as cluster:
        told = refused(index(cluster.address, documents, data_dir))
        assert told.startswith("the Dask scheduler cannot be used: No module named")
    told = refused(index(cluster.address, documents, data_dir))
    assert told.startswith(f"no Dask scheduler answers at {cluster.address!r}")
    told = refused(index("10.0.0.5", documents, data_dir))
    assert told == "scheduler '10.0.0.5' is not an address; give it as tcp://10.0.0.5:8786, or tls://…"
    told = refused(index("tls://127.0.0.1:1", documents, data_dir))
    assert told.startswith("'tls://127.0.0.1:1' needs certificates; name their files by Dask's settings")


def test_with_tls_only_holders_of_a_certificate_are_served(tmp_path: Path) -> None:
    documents, ours, others = write(tmp_path / "documents", 20), tmp_path / "ours", tmp_path / "others"
    required = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    trusted = certificates(tmp_path / "trusted") | required
    with started(tmp_path, "--protocol", "tls", **trusted) as cluster, cluster.worker(**trusted):
        assert cluster.address.startswith("tls://")
        assert printed(index(cluster.address, documents, ours, **trusted)).startswith("20 added")
        told = refused(index(cluster.address, documents, others, **certificates(tmp_path / "unknown")))
        assert told.startswith(f"no Dask scheduler answers at {cluster.address!r}")
        told = refused(index(cluster.address.replace("tls", "tcp"), documents, others))
        assert told.startswith("no Dask scheduler answers at")
    assert committed(others) == 0


def test_workers_embed_a_collection_anew(cluster: Cluster, tmp_path: Path, bge_folder: Path) -> None:
    data_dir, lines = tmp_path / "data", tmp_path / "lines.jsonl"
    lines.write_text('{"id": "a", "text": "An apple."}\n{"id": "b", "text": "A bike."}\n', encoding="utf-8")
    with cluster.worker():
        assert "2 added" in printed(scheduled(cluster.address, data_dir, "import", "bulk", str(lines)))
        told = printed(scheduled(cluster.address, data_dir, "reindex", "bulk", "--model", str(bge_folder)))
    assert told.startswith("bulk: 2 items in 2 passages, from all-MiniLM-L6-v2@")
    assert {document.id for document in stored(data_dir)} == {"a", "b"}


def test_a_server_of_models_is_refused_as_it_has_workers_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    remote = ("--engine", "openai", "--engine-url", "http://127.0.0.1:1/v1", "--engine-model", "any")
    told = refused(index(cluster.address, write(tmp_path / "documents", 1), tmp_path / "data", *remote))
    assert told.startswith("--scheduler is for models that workers load themselves; leave it out where --engine-url")


@pytest.mark.parametrize("last", ["scheduler", "worker"])
def test_a_run_whose_scheduler_or_last_worker_dies_ends_and_keeps_what_was_stored(tmp_path: Path, last: str) -> None:
    documents, data_dir = write(tmp_path / "documents", 1_100), tmp_path / "data"
    with started(tmp_path) as cluster, cluster.worker("--name", "only") as worker:
        process = index(cluster.address, documents, data_dir)
        wait_until(lambda: committed(data_dir) > 0, "a commit", pause=0.05)
        {"scheduler": cluster.scheduler, "worker": worker}[last].kill()
        told = refused(process)
        assert told.startswith({"scheduler": "the Dask scheduler is gone", "worker": "the Dask scheduler has no"}[last])
        assert told.endswith("what was stored is kept, and the same command continues from there")
        assert committed(data_dir) > 0


def test_no_log_of_a_cluster_shows_a_text(cluster: Cluster) -> None:
    assert cluster.logs()
    assert SECRET not in cluster.logs()


def test_without_dask_the_error_names_what_to_install(tmp_path: Path) -> None:
    asked = ("index", "bulk", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1")
    finished = command_without("distributed", *asked, **environment(MCP_EMBEDDINGS_DATA_DIR=str(tmp_path)))
    assert finished.returncode == 2
    assert "pip install 'mcp-server-embeddings[dask]'" in finished.stderr
