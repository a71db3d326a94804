"""``.gitignore`` files, as gitignore(5) describes them.

Rules are matched name by name with the time-bounded patterns of ``globs``: pathspec's expressions take 8 s for one long
name and a rule of five ``*``, during which no thread of the process runs, and a cloned repository brings its own rules.
"""

import fnmatch
import os
import re
import stat
from dataclasses import dataclass

from mcp_server_embeddings.reading.allowed import AllowedFolder, Parts
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.globs import Glob
from mcp_server_embeddings.reading.limits import Cancelled

IGNORE_FILE = ".gitignore"
REPOSITORY = ".git"

_MAX_BYTES = 200_000
_SPECIAL = re.compile(r"\\(.)|\[\^")
_CASE = re.IGNORECASE if os.name == "nt" else re.NOFLAG


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a file.

    Attributes:
        excepts: Whether it begins with ``!``: what it matches is not ignored.
        folders_only: Whether it ends with ``/``.
        glob: What it matches, below the folder of its file.
        last: What the last name has to match: tells most paths apart at once.
    """

    excepts: bool
    folders_only: bool
    glob: Glob
    last: re.Pattern[str]

    def matches(self, parts: Parts, *, is_folder: bool) -> bool:
        """Whether it speaks of a path below its folder."""
        if (self.folders_only and not is_folder) or not self.last.match(parts[-1]):
            return False
        anywhere = len(self.glob.segments) == 2 and self.glob.segments[0] == "**"
        return anywhere or self.glob.matches(parts)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one folder, over those of the folders above it.

    Attributes:
        above: Consulted where these rules say nothing.
        depth: Parts of the path of the folder that these stand in.
        rules: The last first.
        problem: Why they are not applied; ``""`` if they are.
    """

    above: "Rules | None"
    depth: int
    rules: tuple[Rule, ...]
    problem: str = ""


def is_ignored(rules: Rules | None, parts: Parts, *, is_folder: bool) -> bool:
    """Whether the last rule of the nearest file that speaks of a path says so.

    The folders above it are not looked at: what lies in an ignored folder is not walked to.
    """
    while rules is not None:
        below = parts[rules.depth :]
        for rule in rules.rules:
            if rule.matches(below, is_folder=is_folder):
                return not rule.excepts
        rules = rules.above
    return False


def rules_of(folder: AllowedFolder, parts: Parts, above: Rules | None, cancelled: Cancelled) -> Rules | None:
    """``above`` with the rules of the folder at ``parts``, if it has any."""
    try:
        if not stat.S_ISREG(folder.entry((*parts, IGNORE_FILE)).mode):
            return above  # git does not follow a link here either
    except OSError:
        return above
    try:
        content = folder.read((*parts, IGNORE_FILE), _MAX_BYTES, cancelled)
    except UnreadableError as error:
        return Rules(above, len(parts), (), f"its rules are not applied: {error.reason}")
    rules = [rule for line in content.decode("utf-8-sig", "replace").split("\n") if (rule := _rule(line))]
    return Rules(above, len(parts), tuple(reversed(rules)))


def rules_above(folder: AllowedFolder, parts: Parts, cancelled: Cancelled) -> Rules | None:
    """The rules that hold in a folder from those above it: up to the repository's, not beyond the allowed folder.

    None if they ignore the folder itself: it was asked for by name.
    """
    rules: Rules | None = None
    for depth in range(_repository(folder, parts), len(parts)):
        rules = rules_of(folder, parts[:depth], rules, cancelled)
        if is_ignored(rules, parts[: depth + 1], is_folder=True):
            return None
    return rules


def _repository(folder: AllowedFolder, parts: Parts) -> int:
    """Parts of the path of the nearest folder that has ``.git``; 0 if none has."""
    for depth in range(len(parts), 0, -1):
        try:
            folder.entry((*parts[:depth], REPOSITORY))
        except OSError:
            continue
        return depth
    return 0


def _rule(line: str) -> Rule | None:
    """What a line says; None if nothing."""
    line = line.removesuffix("\r")
    pattern = line.rstrip(" ")
    if pattern.endswith("\\"):
        if pattern == line:
            return None  # malformed, and so for git
        pattern += " "  # an escaped space at the end counts
    if pattern.startswith("#"):
        return None
    excepts = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    names = pattern.removeprefix("/").split("/")
    if not any(names):
        return None
    if "/" not in pattern:
        names = ["**", *names]
    if names[-1] == "**":
        names.append("*")  # all that is in a folder, not the folder itself
    segments = tuple(_SPECIAL.sub(_as_fnmatch, name) for name in names)
    return Rule(excepts, folders_only, Glob(segments), re.compile(fnmatch.translate(segments[-1]), _CASE))


def _as_fnmatch(found: re.Match[str]) -> str:
    r"""``[^`` and ``\*`` in the words of fnmatch, which knows neither."""
    escaped = found[1]
    if escaped is None:
        return "[!"
    return f"[{escaped}]" if escaped in "*?[" else str(escaped)
