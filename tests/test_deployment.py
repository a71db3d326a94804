"""The files of ``deploy/`` are valid, say the same as each other, and start what they say they start."""

import argparse
import configparser
import http.server
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import crossplane
import kubernetes_validate
import pytest
import yaml

from http_server import HttpServer
from mcp_server_embeddings.cli.options import settings_from
from test_http_tokens import write_tokens
from waiting import wait_until
from wire import PATIENCE, PROGRAM, client_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "mcp-server-embeddings.service"
USER = 10001


def instructions() -> list[tuple[str, str]]:
    """The instructions of the image's last stage, lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found = [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line]
    return found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]


def instruction(name: str) -> str:
    (value,) = [value for found, value in instructions() if found == name]
    return value


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(instruction("ENV")))


def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifests()["Deployment"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    found: dict[str, Any] = only
    return found


def nginx(*path: str) -> list[list[str]]:
    """The arguments of a directive, by the blocks around it."""
    parsed = crossplane.parse(str(DEPLOY / "nginx.conf"), check_ctx=False)
    blocks: list[dict[str, Any]] = parsed["config"][0]["parsed"]
    for name in path[:-1]:
        blocks = [inner for block in blocks if block["directive"] == name for inner in block["block"]]
    return [block["args"] for block in blocks if block["directive"] == path[-1]]


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    linted = subprocess.run(
        [shutil.which("hadolint", path=Path(sys.executable).parent) or "", "--no-color", str(DEPLOY / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_package_builds_from_what_the_image_is_given(tmp_path: Path) -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in [line[1:] for line in ignored if line.startswith("!")]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "built")]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "built").iterdir()
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    modules = (ROOT / "server").rglob("*.py")
    assert {path.relative_to(ROOT / "server").as_posix() for path in modules} <= names


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers every request with a status; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_of_the_image_tells_a_healthy_server_from_another(*, status: int, healthy: bool) -> None:
    program, *arguments = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"
    with answering(status) as port:
        command = [argument.replace("127.0.0.1:8765", f"127.0.0.1:{port}") for argument in arguments]
        checked = subprocess.run([sys.executable, *command], capture_output=True, check=False)
    assert (checked.returncode == 0) == healthy


@pytest.mark.parametrize("document", manifests().values(), ids=lambda document: document["kind"])
def test_each_manifest_fits_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_pods_run_as_the_images_user_and_can_write_only_to_its_volume() -> None:
    assert instruction("USER") == f"{USER}:{USER}"
    assert (
        pod()["securityContext"] | {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "runAsNonRoot": True}
        == (pod()["securityContext"])
    )
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")]
    assert writable == [instruction("VOLUME")]
    folders = {name: value for name, value in image_environment().items() if name.endswith(("DIR", "HOME"))}
    assert set(folders) == {"HOME", "TMPDIR", "MCP_EMBEDDINGS_DATA_DIR", "MCP_EMBEDDINGS_CACHE_DIR"}
    assert all(Path(folder).is_relative_to(instruction("VOLUME")) for folder in folders.values())


def test_everything_selects_the_pods_and_names_the_deployment() -> None:
    found = manifests()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": found["Deployment"]["apiVersion"],
        "kind": "Deployment",
        "name": found["Deployment"]["metadata"]["name"],
    }


def test_probes_ask_whether_the_server_lives_and_whether_it_is_ready() -> None:
    probes = {name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [probe["path"] for probe in probes.values()] == ["/healthz", "/healthz", "/readyz"]
    (port,) = container()["ports"]
    for probe in probes.values():
        assert probe["port"] == port["name"] == manifests()["Service"]["spec"]["ports"][0]["targetPort"]


def test_all_files_name_the_same_port_and_the_same_file_of_tokens() -> None:
    command = json.loads(instruction("CMD"))
    port = command[command.index("--port") + 1]
    assert instruction("EXPOSE") == port
    assert container()["ports"][0]["containerPort"] == int(port)
    assert f"127.0.0.1:{port}/healthz" in instruction("HEALTHCHECK")
    assert f"127.0.0.1:{port}" in [server[0] for server in nginx("upstream", "server")]
    tokens = Path(command[command.index("--tokens") + 1])
    mounted = [mount["mountPath"] for mount in container()["volumeMounts"] if mount["name"] == "tokens"]
    assert mounted == [str(tokens.parent)]


def test_nginx_passes_requests_on_and_repeats_them_where_a_replica_stops() -> None:
    parsed = crossplane.parse(str(DEPLOY / "nginx.conf"), strict=True, check_ctx=False)
    assert (parsed["status"], parsed["errors"]) == ("ok", [])
    assert [options for _, *options in nginx("upstream", "server")] == [["max_fails=0"], ["max_fails=0"]]
    assert nginx("server", "location", "proxy_next_upstream") == [["error", "timeout", "http_503", "non_idempotent"]]
    assert nginx("server", "location", "proxy_buffering") == [["off"]]
    assert ["Host", "$http_host"] in nginx("server", "location", "proxy_set_header")


def test_nginx_takes_and_keeps_in_memory_what_the_server_takes() -> None:
    from mcp_server_embeddings.mcp_layer.http.limits import MAX_BODY_BYTES

    for directive in ("client_max_body_size", "client_body_buffer_size"):
        ((size,),) = nginx("server", directive)
        assert int(size.removesuffix("m")) << 20 >= MAX_BODY_BYTES


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names of directives have capitals
    parser.read(UNIT, encoding="utf-8")
    return parser


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="only where systemd is installed")
def test_systemd_knows_every_directive_of_the_unit(tmp_path: Path) -> None:
    program = tmp_path / ".local" / "bin" / "mcp-server-embeddings"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(UNIT)],
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def refused_greeting(runtime: Path) -> bytes:
    """What the engine answers to one who does not greet as a relay does: it serves."""
    (path,) = runtime.glob("*/*.sock")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(b"hello\n")
        return connection.recv(1_000)


def test_the_units_command_serves_until_it_is_ended_as_the_unit_expects(tmp_path: Path) -> None:
    _, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    with tempfile.TemporaryDirectory() as runtime:  # short, as the path of a socket has to be
        environment = client_environment(HOME=str(tmp_path), XDG_RUNTIME_DIR=runtime, PYTHONPATH=str(ROOT / "server"))
        with subprocess.Popen([*PROGRAM, *arguments], env=environment, cwd=tmp_path) as engine:
            try:
                wait_until(lambda: bool(list(Path(runtime).glob("*/*.sock"))), "the engine listens")
                assert b"not the greeting of a relay" in refused_greeting(Path(runtime))
                engine.terminate()
                assert str(engine.wait(PATIENCE)) == unit()["Service"]["SuccessExitStatus"]
            finally:
                engine.kill()


def test_the_unit_keeps_the_engine_from_the_network() -> None:
    service = unit()["Service"]
    assert service["RestrictAddressFamilies"] == "AF_UNIX"
    assert service["UMask"] == "0077"


def test_the_images_command_serves_what_probes_and_the_autoscaler_ask(tmp_path: Path, data_dir: Path) -> None:
    command = json.loads(instruction("CMD"))
    file = tmp_path / "tokens.toml"
    (token,) = write_tokens(file, scraper="metrics = true").values()
    replaced = {instruction("EXPOSE"): "0", command[command.index("--tokens") + 1]: str(file)}
    assert command[0] == "serve"
    with HttpServer(data_dir, *(replaced.get(argument, argument) for argument in command[1:])) as server:
        name = {"Host": "10.1.2.3:8765"}
        wait_until(lambda: server.http.get("/readyz", headers=name).status_code == 200, "a loaded model", pause=0.05)
        assert server.http.get("/healthz", headers=name).status_code == 200
        page = server.http.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
        (scaled,) = manifests()["HorizontalPodAutoscaler"]["spec"]["metrics"]
        assert f"\n{scaled['pods']['metric']['name']} " in page


def test_the_variables_of_the_image_and_of_the_pods_are_settings() -> None:
    """Prometheus reaches a pod by its address, which Kubernetes puts in."""
    (address,) = [one["name"] for one in container()["env"] if "valueFrom" in one]
    given = {
        one["name"]: one["value"].replace(f"$({address})", "10.1.2.3") for one in container()["env"] if "value" in one
    }
    settings = settings_from(argparse.Namespace(), image_environment() | given)
    assert settings.allowed_host == ("embeddings", "embeddings.example.com", "10.1.2.3")
    assert settings.exclude_tools == ("collections",)
    assert str(settings.threads) == container()["resources"]["requests"]["cpu"]
    assert settings.idle_unload == 0
