"""docs/limits.md names each limit as the code has it."""

import re
from pathlib import Path
from pkgutil import resolve_name

import mcp_server_embeddings

PAGE = (Path(__file__).parent.parent / "docs" / "limits.md").read_text(encoding="utf-8")
LIMITS = {
    name: int(limit.replace(",", ""))
    for limit, name in re.findall(r"^\| [^|]+ \| ([\d,]+) \| [^|]+ \| `([\w.]+)` \|$", PAGE, re.MULTILINE)
}

OTHERS = {
    "relay.greeting.MAX_GREETING": "what our own relay sends",
    "tools.parameters.MAX_TOP": "in the schema of each tool that has it",
    "tools.coercion.MAX_QUOTED": "how much of an invalid value an error quotes",
    "tools.sentences.MAX_PASSAGE": "how long the passages of an answer are",
}
"""Not on the page, and why."""


def test_limits_are_those_of_the_code() -> None:
    assert len(LIMITS) == len(re.findall(r"^\|.* \| `", PAGE, re.MULTILINE))
    assert {name: resolve_name(f"{mcp_server_embeddings.__name__}.{name}") for name in LIMITS} == LIMITS


def test_every_public_limit_is_on_a_page() -> None:
    source = Path(mcp_server_embeddings.__path__[0])
    declared = {
        f"{'.'.join(file.relative_to(source).with_suffix('').parts)}.{constant}"
        for file in source.rglob("*.py")
        for constant in re.findall(r"^MAX_\w+", file.read_text(encoding="utf-8"), re.MULTILINE)
        if "http" not in file.parts  # on the page on HTTP
    }
    assert declared - LIMITS.keys() == OTHERS.keys()
