"""The MCP conformance suite against the HTTP server, in both revisions."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from http_server import HttpServer
from test_clients import CLIENTS
from wire import PATIENCE

pytestmark = pytest.mark.slow

SUITE = CLIENTS / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
NODE = CLIENTS / "node_modules" / "node" / "bin" / "node"
"""The suite needs a later Node.js than the clients."""

GENERIC = {
    "2025-11-25": [
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "tools-list",
        "resources-list",
        "resources-subscribe",
        "resources-unsubscribe",
        "prompts-list",
        "dns-rebinding-protection",
        "server-sse-multiple-streams",
    ],
    "2026-07-28": [
        "tools-list",
        "resources-list",
        "prompts-list",
        "dns-rebinding-protection",
        "server-sse-multiple-streams",
        "caching",
        "http-header-validation",
        "sep-2164-resource-not-found",
        "input-required-result-unsupported-methods",
    ],
}
"""Scenarios that need nothing of a server but the protocol."""

UNTESTABLE = {
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
}
"""Checks of server-stateless that call tools of the suite's own."""


@pytest.mark.parametrize(("revision", "options"), [("2025-11-25", ("--stateful",)), ("2026-07-28", ())])
def test_the_suite_fails_only_where_it_wants_tools_of_its_own(
    revision: str, options: Sequence[str], data_dir: Path, tmp_path: Path
) -> None:
    with HttpServer(data_dir, *options) as server:
        command = ["server", "--url", server.url, "--suite", "all", "--spec-version", revision]
        files = ["--expected-failures", str(CLIENTS / "conformance.yml"), "--output-dir", str(tmp_path)]
        ran = subprocess.run(
            [NODE, SUITE, *command, *files], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert ran.returncode == 0, ran.stdout[-3_000:]
    for scenario in GENERIC[revision]:
        assert f"✓ {scenario}: " in ran.stdout
        assert f"✓ {scenario}: 0 passed" not in ran.stdout
    if revision == "2026-07-28":
        (results,) = tmp_path.glob("*server-stateless*/checks.json")
        checks = json.loads(results.read_text(encoding="utf-8"))
        assert {check["id"] for check in checks if check["status"] == "FAILURE"} == UNTESTABLE
