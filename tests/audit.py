"""Record what the processes started by a test do: sockets, child processes, telemetry."""

from dataclasses import dataclass
from pathlib import Path

from scripts import at_start

AUDIT = """
import os, sys
def line(*words):
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(" ".join(map(str, (os.getpid(), *words))) + "\\n")
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
def hook(event, arguments):
    if event in NETWORK:
        line("network", event, arguments[1:])
    elif event == "socket.__new__" and arguments[1] != 1:
        line("socket", arguments[1:])
    elif event == "subprocess.Popen":
        line("child", *arguments[1])
    elif event == "open" and os.sep + "openvino_telemetry" + os.sep in str(arguments[0]):
        line("telemetry", arguments[0])
line("program", *sys.orig_argv)
sys.addaudithook(hook)
"""
"""Logs sockets other than Unix sockets, child processes, and files opened in the telemetry package."""


@dataclass(frozen=True)
class Audit:
    """The log of the processes that were started with ``environment``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        code = f"LOG = {str(self.folder / 'events')!r}\n{AUDIT}"
        return {**at_start(self.folder, code), "HF_HUB_OFFLINE": "0"}

    def events(self, kind: str) -> list[str]:
        lines = (self.folder / "events").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.split()[1] == kind]
