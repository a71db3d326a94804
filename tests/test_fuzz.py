"""Send random messages, valid and invalid, to a running server: it answers each request once and keeps working."""

import itertools
import json
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from mcp_types import JSONRPCError, JSONRPCRequest

from mcp_server_embeddings.mcp_layer.messages import decode
from rounds import Record
from wire import ServerProcess

pytestmark = pytest.mark.usefixtures("engine_process")

MESSAGES_PER_KILL = 300

MAX_GROWTH = 5_000_000
"""Limit in bytes of the processes' median growth from one eighth of the messages to the next.

Loading something on first use makes a step or two grow, a leak every step.
"""

SECONDS_TO_END = 5
"""Seconds within which a healthy server ends."""

VALUES: list[object] = [
    *(None, True, 0, -1, 1.5, 1e308, 10**30),
    *("", "a", "\x00", "\u202e", "🙂" * 50, "[" * 150, '["a", "b"]', '{"text": "a"}', "../../etc/passwd"),
    *("C:\\x", "file:///x", "*", "a.csv#b", "result.csv", "```json\n[1]\n```"),
    *([], {}, [None], [[["a"]]], {"a": {"b": []}}, ["a", "b"], ["a", 1], [{"text": "a", "label": "b"}]),
]

ARGUMENTS = (
    *("texts", "left", "right", "query", "queries", "labels"),
    *("examples", "top", "threshold", "clusters", "count", "members"),
    *("max_tokens", "metric", "role", "encoding", "source", "left_source", "right_source"),
    *("long_text", "collection", "ids", "metadata", "where", "id_field", "around"),
    *("mode", "save_as", "tag", "keep", "abstain", "full", "all"),
    *("diversity", "dimensions", "documents", "k", "unknown"),
)

TOOLS = (
    *("embed", "similarity", "search", "read", "classify", "cluster"),
    *("deduplicate", "align", "condense", "status"),
    *("collection_add", "collection_remove", "none"),
)

METHODS = (
    *("ping", "tools/list", "tools/call", "resources/list", "resources/read"),
    *("resources/templates/list", "resources/subscribe", "prompts/list", "prompts/get", "completion/complete"),
    *("logging/setLevel", "initialize", "subscriptions/listen", "server/discover", "unknown"),
)


def arguments(chance: random.Random) -> dict[str, object]:
    return {name: chance.choice(VALUES) for name in chance.sample(ARGUMENTS, chance.randrange(4))}


def params(chance: random.Random) -> object:
    fields: dict[str, object] = {
        "name": chance.choice([*TOOLS, "find_duplicates", None]),
        "uri": chance.choice(["embeddings://status", "embeddings://collections/x/y", "embeddings://guide", "", 5]),
        "arguments": chance.choice([arguments(chance), None, [], "a"]),
        "ref": chance.choice([{"type": "ref/prompt", "name": "find_duplicates"}, {"type": "x"}, 3]),
        "argument": chance.choice([{"name": "keep", "value": "l"}, {}]),
        "_meta": chance.choice([{"progressToken": chance.choice(VALUES)}, {}, 1, None]),
        "level": chance.choice(["debug", "x"]),
    }
    return {name: fields[name] for name in chance.sample(sorted(fields), chance.randrange(1, len(fields)))}


def valid(chance: random.Random, identifier: int | str) -> dict[str, object]:
    if chance.random() < 0.5:
        call = {"name": chance.choice(TOOLS), "arguments": arguments(chance)}
        return {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": call}
    return {"jsonrpc": "2.0", "id": identifier, "method": chance.choice(METHODS), "params": params(chance)}


def damaged(chance: random.Random, line: bytes) -> bytes:
    """Change some bytes of a line; none becomes a line break."""
    changed = bytearray(line)
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(len(changed))] = chance.choice(b'"{}[]:,\\x01\xff\xc3 u0')
    return bytes(changed)


def notification(chance: random.Random) -> bytes:
    method = chance.choice(["notifications/cancelled", "notifications/progress", "notifications/initialized", "x"])
    cancelled: dict[str, object] = {"requestId": chance.choice([1, "1", None, 1.5, [], -1])}
    return json.dumps(
        {"jsonrpc": "2.0", "method": method, "params": chance.choice([cancelled, params(chance)])}
    ).encode()


def answer_of_a_client(chance: random.Random) -> bytes:
    outcome: dict[str, object] = chance.choice([{"result": {}}, {"error": {"code": 1, "message": "m"}}, {"result": 5}])
    return json.dumps({"jsonrpc": "2.0", "id": 1, **outcome}).encode()


NOISE: list[Callable[[random.Random], bytes]] = [
    notification,
    answer_of_a_client,
    lambda chance: damaged(chance, json.dumps(valid(chance, "damaged")).encode()),
    lambda chance: json.dumps(chance.choice(VALUES)).encode(),
    lambda chance: json.dumps({"jsonrpc": "2.0", "id": chance.choice(VALUES), "method": "ping"}).encode(),
]


CANCELLED = -1
"""The only id that notifications cancel here; a request with it need not be answered."""

FIRST_ID = 1_000
"""The first id of a random request; the test's own requests have lower ones."""


def line_of(chance: random.Random, identifier: int) -> bytes:
    if chance.random() < 0.6:
        return json.dumps(valid(chance, identifier)).encode()
    return chance.choice(NOISE)(chance)


def answers_to(line: bytes) -> list[object]:
    """Return the ids of the answers that a line must get: one or none."""
    message = decode(line) if line.strip() else None
    if not isinstance(message, JSONRPCRequest | JSONRPCError) or message.id == CANCELLED:
        return []
    return [message.id]


def await_answers(server: ServerProcess, received: Counter[object], expected: Counter[object]) -> None:
    """Read messages until as many answers have arrived as are expected."""
    left = expected.total() - received.total()
    while left > 0:
        left -= count_answer(received, server.next_message())


def count_answer(received: Counter[object], message: Mapping[str, Any]) -> bool:
    """Count a message if it answers a random request; return whether it does."""
    identifier = message.get("id")
    own = isinstance(identifier, int) and 0 < identifier < FIRST_ID
    if "method" in message or own or identifier == CANCELLED:
        return False
    received[identifier] += 1
    return True


def engines(server: ServerProcess) -> list[int]:
    """Return the process id of the engine process that the server uses, if there is one."""
    status = json.dumps(server.call("status", {})["structuredContent"])
    return [int(pid) for pid in re.findall(r"engine process (\d+)", status)]


def resident(server: ServerProcess) -> int:
    """Return the resident bytes of the process that the test started and of its engine process."""
    return sum(psutil.Process(pid).memory_info().rss for pid in [server.process.pid, *engines(server)])


@pytest.mark.slow
@pytest.mark.parametrize("messages", [1_000, pytest.param(50_000, marks=pytest.mark.harden)])
def test_random_messages_are_answered_once_each_and_the_server_lives(
    tmp_path: Path, messages: int, record_property: Record
) -> None:
    chance, sizes = random.Random(0), list[int]()
    expected, received = Counter[object](), Counter[object]()
    with ServerProcess(tmp_path) as server:
        server.handshake()
        for number in range(messages):
            line = line_of(chance, FIRST_ID + number)
            expected.update(answers_to(line))
            server.write(line + b"\n")
            if number % (messages // 8) == messages // 8 - 1:
                await_answers(server, received, expected)
                sizes.append(resident(server))
        assert server.request("ping") == {}
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.seconds_to_end() < SECONDS_TO_END
        assert server.finish() == 0
    for message in server.unread():
        count_answer(received, message)
    assert received == expected
    assert statistics.median(after - before for before, after in itertools.pairwise(sizes)) < MAX_GROWTH
    assert "Traceback" not in server.log
    record_property("messages", messages)
    record_property("answers", received.total())


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.harden)])
@pytest.mark.parametrize("engine_process", ["shared"], indirect=True)
def test_requests_are_answered_once_each_although_engines_are_killed(
    tmp_path: Path, kills: int, record_property: Record
) -> None:
    chance = random.Random(3)
    expected, received = Counter[object](), Counter[object]()
    with ServerProcess(tmp_path) as server:
        server.handshake()
        numbers = itertools.count(FIRST_ID)
        for _ in range(kills):
            (engine,) = engines(server)
            for _ in range(MESSAGES_PER_KILL):
                line = line_of(chance, next(numbers))
                # An error without an id may be lost.
                expected.update(id_ for id_ in answers_to(line) if id_ is not None)
                server.write(line + b"\n")
            psutil.Process(engine).kill()
            left = expected.total() - received.total()
            while left:
                message = server.next_message()
                left -= message.get("id") is not None and count_answer(received, message)
        assert server.request("ping") == {}
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.finish() == 0
    for message in server.unread():
        if message.get("id") is not None:
            count_answer(received, message)
    assert received == expected
    assert "Traceback" not in server.log
    record_property("kills", kills)
    record_property("messages", kills * MESSAGES_PER_KILL)
    record_property("answers", received.total())
