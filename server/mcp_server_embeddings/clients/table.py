"""The clients that ``install`` knows: where each one's file is, and how a server stands in it.

The places are those of the clients' own documentation, November 2026.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Literal

Format = Literal["json", "jsonc", "toml"]
"""``json`` is for clients that read no comments."""

Entry = dict[str, object]
"""A server, as a client's file has it."""


@dataclass(frozen=True, slots=True)
class System:
    """What decides where a client's file is.

    Attributes:
        platform: ``sys.platform``.
        home: The user's folder.
        environment: Variables, of which some move folders.
    """

    platform: str
    home: str
    environment: Mapping[str, str]

    @classmethod
    def current(cls) -> "System":
        """Return this machine's."""
        return cls(sys.platform, str(Path.home()), os.environ)

    def folders(self) -> dict[str, PurePath]:
        """Return the folders below which clients keep their files: of this machine or of any other."""
        kind = PureWindowsPath if self.platform == "win32" else PurePosixPath
        home = kind(self.home)
        config = kind(self.environment.get("XDG_CONFIG_HOME") or home / ".config")
        application = {
            "darwin": home / "Library" / "Application Support",
            "win32": kind(self.environment.get("APPDATA") or home / "AppData" / "Roaming"),
        }
        return {"home": home, "config": config, "application": application.get(self.platform, config)}


@dataclass(frozen=True, slots=True)
class Client:
    """A program that starts MCP servers.

    Attributes:
        name: As the command line has it.
        title: As people call it.
        files: By platform, "" for every other: candidates, the first of which is made where there is none.
        keys: Where in the document the servers stand.
        format: Of the file.
        entry: Makes the entry of a command.
        program: What starts it in a shell; empty for none.
        variable: Names a folder that holds the file instead.
        inner: The servers stand one level deeper, under this name, in files that have it.
    """

    name: str
    title: str
    files: Mapping[str, Sequence[str]]
    keys: tuple[str, ...]
    format: Format
    entry: Callable[[Sequence[str]], Entry]
    program: str = ""
    variable: str = ""
    inner: str = ""

    def candidates(self, system: System) -> list[PurePath]:
        """Return where its file may be; see ``files``."""
        folders = system.folders()
        places = [
            folders[place.partition("/")[0]] / place.partition("/")[2]
            for place in self.files.get(system.platform, self.files.get("", ()))
        ]
        moved = system.environment.get(self.variable, "") if self.variable else ""
        return [type(place)(moved) / place.name for place in places] if moved else places

    def file(self, system: System) -> Path:
        """Return its file on this machine, which need not exist."""
        places = [Path(place) for place in self.candidates(system)]
        return next((place for place in places if place.exists()), places[0])


def plain(command: Sequence[str]) -> Entry:
    """Return the entry that most clients understand."""
    return {"command": command[0], "args": list(command[1:])}


def _stdio(command: Sequence[str]) -> Entry:
    return {"type": "stdio", **plain(command)}


def _zed(command: Sequence[str]) -> Entry:
    return {"source": "custom", **plain(command)}


def _opencode(command: Sequence[str]) -> Entry:
    return {"type": "local", "command": list(command)}


def _everywhere(*files: str) -> Mapping[str, Sequence[str]]:
    return {"": files}


_SERVERS = ("mcpServers",)

CLIENTS = {
    client.name: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            _everywhere("application/Claude/claude_desktop_config.json"),
            _SERVERS,
            "json",
            plain,
        ),
        Client(
            "claude-code",
            "Claude Code",
            _everywhere("home/.claude.json"),
            _SERVERS,
            "json",
            _stdio,
            "claude",
            "CLAUDE_CONFIG_DIR",
        ),
        Client("cursor", "Cursor", _everywhere("home/.cursor/mcp.json"), _SERVERS, "jsonc", plain, "cursor"),
        Client(
            "vscode", "VS Code", _everywhere("application/Code/User/mcp.json"), ("servers",), "jsonc", _stdio, "code"
        ),
        Client(
            "codex",
            "Codex",
            _everywhere("home/.codex/config.toml"),
            ("mcp_servers",),
            "toml",
            plain,
            "codex",
            "CODEX_HOME",
        ),
        Client(
            "windsurf",
            "Windsurf",
            _everywhere("home/.codeium/windsurf/mcp_config.json"),
            _SERVERS,
            "jsonc",
            plain,
            "windsurf",
        ),
        Client(
            "zed",
            "Zed",
            {
                "": ("config/zed/settings.json",),
                "darwin": ("home/.config/zed/settings.json",),
                "win32": ("application/Zed/settings.json",),
            },
            ("context_servers",),
            "jsonc",
            _zed,
            "zed",
        ),
        Client("gemini", "Gemini CLI", _everywhere("home/.gemini/settings.json"), _SERVERS, "jsonc", plain, "gemini"),
        Client(
            "opencode",
            "OpenCode",
            _everywhere("config/opencode/opencode.jsonc", "config/opencode/opencode.json"),
            ("mcp",),
            "jsonc",
            _opencode,
            "opencode",
            inner="servers",  # of OpenCode 2, which reads the files of OpenCode 1 too
        ),
    )
}
"""By name, in the order in which they are listed."""
