"""A running server under random messages, valid and not: one answer for each request, and nothing else breaks."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from wire import ServerProcess, peak_memory

pytestmark = pytest.mark.usefixtures("own_process")

MESSAGES = 1_500

ENDED = 5
"""Seconds within which a server ends that is well."""

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
        called = {"name": chance.choice(TOOLS), "arguments": arguments(chance)}
        return {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": called}
    return {"jsonrpc": "2.0", "id": identifier, "method": chance.choice(METHODS), "params": params(chance)}


def damaged(chance: random.Random, line: bytes) -> bytes:
    """A line with some bytes changed, and none that ends a line."""
    changed = bytearray(line)
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(len(changed))] = chance.choice(b'"{}[]:,\\x01\xff\xc3 u0')
    return bytes(changed)


def notification(chance: random.Random) -> bytes:
    method = chance.choice(["notifications/cancelled", "notifications/progress", "notifications/initialized", "x"])
    told: dict[str, object] = {"requestId": chance.choice([1, "1", None, 1.5, [], -1])}
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": chance.choice([told, params(chance)])}).encode()


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


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.harden) for seed in range(1, 10))])
def test_random_messages_are_answered_once_each_and_the_server_lives(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    answered: Counter[object] = Counter()
    with ServerProcess(tmp_path) as server:
        server.handshake()
        waiting = set()
        for identifier in range(1_000, 1_000 + MESSAGES):
            if chance.random() < 0.6:
                waiting.add(identifier)
                server.write(json.dumps(valid(chance, identifier)).encode() + b"\n")
            else:
                server.write(chance.choice(NOISE)(chance) + b"\n")
        while waiting:
            message = server.next_message()
            if "method" not in message:
                answered[message["id"]] += 1
                waiting.discard(message["id"])
        assert server.request("ping") == {}
        assert peak_memory(server.process.pid) < 1_000_000_000
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.seconds_to_end() < ENDED
        assert server.finish() == 0
    assert {identifier for identifier in range(1_000, 1_000 + MESSAGES) if answered[identifier] > 1} == set()
    assert "Traceback" not in server.log
