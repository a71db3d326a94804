"""The clients that ``install`` supports: the location of each one's file, and the format of a server's entry.

The locations are from the clients' own documentation, November 2026.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Literal

Format = Literal["json", "jsonc", "toml"]
"""``json`` is for clients that do not accept comments."""

Entry = dict[str, object]
"""The entry of a server in a client's file."""


@dataclass(frozen=True, slots=True)
class System:
    """The properties of a machine that determine where clients keep their files.

    Attributes:
        platform: The value of ``sys.platform``.
        home: The user's home folder.
        environment: Environment variables, some of which relocate folders.
    """

    platform: str
    home: str
    environment: Mapping[str, str]

    @classmethod
    def current(cls) -> "System":
        """Return the system of this machine."""
        return cls(sys.platform, str(Path.home()), os.environ)

    def folders(self) -> dict[str, PurePath]:
        """Return the base folders of clients' files, for any platform and not only the one of this machine."""
        path_type = PureWindowsPath if self.platform == "win32" else PurePosixPath
        home = path_type(self.home)
        config = path_type(self.environment.get("XDG_CONFIG_HOME") or home / ".config")
        application = {
            "darwin": home / "Library" / "Application Support",
            "win32": path_type(self.environment.get("APPDATA") or home / "AppData" / "Roaming"),
        }
        return {"home": home, "config": config, "application": application.get(self.platform, config)}


@dataclass(frozen=True, slots=True)
class Client:
    """A program that starts MCP servers.

    Attributes:
        name: The name on the command line.
        title: The product's name.
        files: Candidate paths by platform, "" for all others; if none exists, the first is created.
        keys: The path of keys in the document below which servers are listed.
        format: The format of the file.
        entry: Builds the entry for a command.
        program: The command that starts the client in a shell; empty if there is none.
        variable: An environment variable that names another folder for the file.
        inner: In files that have this key, servers are listed one level deeper, below it.
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
        """Return the candidate paths of the client's file; see ``files``."""
        folders = system.folders()
        relative = [PurePosixPath(path) for path in self.files.get(system.platform, self.files.get("", ()))]
        paths = [folders[path.parts[0]].joinpath(*path.parts[1:]) for path in relative]
        override = system.environment.get(self.variable, "") if self.variable else ""
        return [type(path)(override) / path.name for path in paths] if override else paths

    def file(self, system: System) -> Path:
        """Return the path of the client's file on this machine; the file need not exist."""
        paths = [Path(path) for path in self.candidates(system)]
        return next((path for path in paths if path.exists()), paths[0])


def _plain(command: Sequence[str]) -> Entry:
    """Return the entry format that most clients understand."""
    return {"command": command[0], "args": list(command[1:])}


def _stdio(command: Sequence[str]) -> Entry:
    return {"type": "stdio", **_plain(command)}


def _zed(command: Sequence[str]) -> Entry:
    return {"source": "custom", **_plain(command)}


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
            _plain,
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
        Client("cursor", "Cursor", _everywhere("home/.cursor/mcp.json"), _SERVERS, "jsonc", _plain, "cursor"),
        Client(
            "vscode", "VS Code", _everywhere("application/Code/User/mcp.json"), ("servers",), "jsonc", _stdio, "code"
        ),
        Client(
            "codex",
            "Codex",
            _everywhere("home/.codex/config.toml"),
            ("mcp_servers",),
            "toml",
            _plain,
            "codex",
            "CODEX_HOME",
        ),
        Client(
            "windsurf",
            "Windsurf",
            _everywhere("home/.codeium/windsurf/mcp_config.json"),
            _SERVERS,
            "jsonc",
            _plain,
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
        Client("gemini", "Gemini CLI", _everywhere("home/.gemini/settings.json"), _SERVERS, "jsonc", _plain, "gemini"),
        Client(
            "opencode",
            "OpenCode",
            _everywhere("config/opencode/opencode.jsonc", "config/opencode/opencode.json"),
            ("mcp",),
            "jsonc",
            _opencode,
            "opencode",
            inner="servers",  # in OpenCode 2, which also reads the files of OpenCode 1
        ),
    )
}
"""Clients by name, in the order in which they are listed."""
