"""Rules of security are left out only where a reason stands beside it."""

import re
from pathlib import Path

import mcp_server_embeddings

SUPPRESSED = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d+[A-Z0-9, ]*(?P<reason> - .+)?$", re.MULTILINE)


def test_every_rule_of_security_that_is_left_out_has_a_reason() -> None:
    (package,) = mcp_server_embeddings.__path__
    found = [one for path in Path(package).rglob("*.py") for one in SUPPRESSED.finditer(path.read_text("utf-8"))]
    assert len(found) > 5
    assert [one[0] for one in found if not one["reason"]] == []
