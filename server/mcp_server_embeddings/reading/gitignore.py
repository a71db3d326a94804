"""``.gitignore`` files, following gitignore(5).

Rules are matched component by component with the linear-time patterns of ``globs``, because the rules of a cloned
repository are untrusted input. docs/architecture.md explains why pathspec is not used.
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
        negated: The line begins with ``!``: matching paths are not ignored.
        folders_only: The line ends with ``/``.
        glob: Pattern of the path, relative to the folder of the file.
        name: Pattern of the last component, which rules out most paths quickly.
    """

    negated: bool
    folders_only: bool
    glob: Glob
    name: re.Pattern[str]

    def matches(self, parts: Parts, *, is_folder: bool) -> bool:
        """Tell whether the rule applies to a path relative to its folder."""
        if (self.folders_only and not is_folder) or not self.name.match(parts[-1]):
            return False
        anywhere = len(self.glob.segments) == 2 and self.glob.segments[0] == "**"
        return anywhere or self.glob.matches(parts)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one folder, linked to those of the folders above it.

    Attributes:
        parent: Rules to apply if no rule here matches.
        depth: Number of path components of the folder.
        rules: The rules in reverse order, since the last match decides.
        problem: Why the rules are not applied; ``""`` if they are.
    """

    parent: "Rules | None"
    depth: int
    rules: tuple[Rule, ...]
    problem: str = ""


def is_ignored(rules: Rules | None, parts: Parts, *, is_folder: bool) -> bool:
    """Apply the last matching rule of the nearest file with a match.

    The folders above the path are not checked, because the walk does not enter an ignored folder.
    """
    while rules is not None:
        relative = parts[rules.depth :]
        for rule in rules.rules:
            if rule.matches(relative, is_folder=is_folder):
                return not rule.negated
        rules = rules.parent
    return False


def read_rules(folder: AllowedFolder, parts: Parts, parent: Rules | None, cancelled: Cancelled) -> Rules | None:
    """Return ``parent`` extended by the rules of the folder at ``parts``, if it has any."""
    try:
        if not stat.S_ISREG(folder.entry((*parts, IGNORE_FILE)).mode):
            return parent  # like git, do not follow a link here
    except OSError:
        return parent
    try:
        content = folder.read((*parts, IGNORE_FILE), _MAX_BYTES, cancelled)
    except UnreadableError as error:
        return Rules(parent, len(parts), (), f"its rules are not applied: {error.reason}")
    rules = [rule for line in content.decode("utf-8-sig", "replace").split("\n") if (rule := _parse_rule(line))]
    return Rules(parent, len(parts), tuple(reversed(rules)))


def inherited_rules(folder: AllowedFolder, parts: Parts, cancelled: Cancelled) -> Rules | None:
    """Return the rules that a folder inherits from the folders above it, up to its repository or the allowed folder.

    None if these rules ignore the folder itself, since the caller requested it by name.
    """
    rules: Rules | None = None
    for depth in range(_repository_depth(folder, parts), len(parts)):
        rules = read_rules(folder, parts[:depth], rules, cancelled)
        if is_ignored(rules, parts[: depth + 1], is_folder=True):
            return None
    return rules


def _repository_depth(folder: AllowedFolder, parts: Parts) -> int:
    """Return the number of components of the nearest folder with ``.git``; 0 if there is none."""
    for depth in range(len(parts), 0, -1):
        try:
            folder.entry((*parts[:depth], REPOSITORY))
        except OSError:
            continue
        return depth
    return 0


def _parse_rule(line: str) -> Rule | None:
    line = line.removesuffix("\r")
    pattern = line.rstrip(" ")
    if pattern.endswith("\\"):
        if pattern == line:
            return None  # like git, ignore a malformed rule
        pattern += " "  # an escaped trailing space is part of the pattern
    if pattern.startswith("#"):
        return None
    negated = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    names = pattern.removeprefix("/").split("/")
    if not any(names):
        return None
    if "/" not in pattern:
        names = ["**", *names]
    if names[-1] == "**":
        names.append("*")  # everything in the folder, excluding the folder itself
    segments = tuple(_SPECIAL.sub(_translate, name) for name in names)
    return Rule(negated, folders_only, Glob(segments), re.compile(fnmatch.translate(segments[-1]), _CASE))


def _translate(match: re.Match[str]) -> str:
    r"""Translate ``[^`` and escapes such as ``\*``, which fnmatch does not support."""
    escaped = match[1]
    if escaped is None:
        return "[!"
    return f"[{escaped}]" if escaped in "*?[" else str(escaped)
