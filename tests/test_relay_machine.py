"""What a relay remembers of its session, beside a list of what its client waits for; engines read the same lines."""

import json
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mcp_types import ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse

from mcp_server_embeddings.mcp_layer.messages import decode, encode
from mcp_server_embeddings.relay.session_state import MAX_ATTEMPTS, SessionState
from rounds import Rounds

IDS: st.SearchStrategy[object] = st.sampled_from(
    [
        *(1, 2, -1, 1.0, 1e308, 10**30, 2**64, None, True, 1.5, [], {}, ["a"], float("nan"), 1e400),
        *("1", "", 'a"\\', "é", "x" * 1_000, "x" * 1_001, "\ud83d", "\udc00a", "relay:0"),
    ]
)
METHODS = st.sampled_from(
    ["ping", "tools/call", "initialize", "resources/subscribe", "resources/unsubscribe", "resources/list"]
)
TOKENS: st.SearchStrategy[object] = st.sampled_from([None, 1, "t", 1.5, True, [], {}, {"a": []}])
PARAMS: st.SearchStrategy[object] = st.sampled_from([None, [], "a", {}, {"uri": "a:b"}, {"uri": 5}]) | st.builds(
    lambda token: {"_meta": {"progressToken": token}}, TOKENS
)
VERSIONS = st.sampled_from(["2.0", "2.0", "2.0", "1.0", None])
NOISE = st.sampled_from(
    [
        *(b"\n", b"no JSON\n", b"[]\n", b"5\n", b'{"id":1}\n', b'{"id":1,"method":5}\n', b'{"id":1,"result":{}}\n'),
        *(b'{"id":1,"method":"ping"', b"\xff\xfe\n", b'{"jsonrpc":"2.0","method":"ping","id":1,"id":2}\n'),
        b'{"jsonrpc":"2.0","method":"ping","id":' + b"9" * 5_000 + b"}\n",
        b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":' + b"9" * 5_000 + b"}}\n",
        b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":' + b"[" * 300 + b"]" * 300 + b"}}\n",
        b'{"jsonrpc":"2.0","method":"ping","id":"\\ud83d\\ude00","params":{"a":NaN}}\n',
        b'{"jsonrpc":"2.0","method":"ping","id":"\xff"}\n',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"ping","id":1}\n',
        b'{"jsonrpc":"2.0","method":"ping","id":1}\r\n',
    ]
)


def message(version: object, identifier: object, method: str, params: object) -> bytes:
    """A line of a client; without an id it is a notification."""
    return json.dumps({"jsonrpc": version, "id": identifier, "method": method, "params": params}).encode() + b"\n"


LINES = st.builds(message, VERSIONS, IDS, METHODS, PARAMS)


def answer(line: bytes) -> bytes | None:
    """What an engine answers to a line: an error, or at once a result."""
    read = decode(line) if line.strip() else None
    if isinstance(read, JSONRPCRequest):
        return encode(JSONRPCResponse(jsonrpc="2.0", id=read.id, result={}))
    return encode(read) if isinstance(read, JSONRPCError) else None


NO_ID = b'{"jsonrpc":"2.0","id":null'
"""Begins the refusal of a line whose id cannot be repeated: the relay cannot tell that one was lost."""


def with_id(identifier: object) -> list[bytes]:
    return [message("2.0", identifier, "ping", {})]


EXAMPLES = [
    with_id("x" * 1_001),
    with_id("relay:0"),
    with_id("\ud83d"),
    [message("2.0", 1, "ping", {"_meta": {"progressToken": []}})],
    [b'{"jsonrpc":"2.0","id":1,"muthod":"ping"}\n'],
    [b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":' + b"[" * 300 + b"]" * 300 + b"}}\n"],
]


def assert_nothing_waits(lines: list[bytes]) -> None:
    """After an engine has answered every line."""
    state = SessionState()
    for line in lines:
        state.record_sent(line)
    told = {line: answer(line) for line in lines}
    assert Counter(state.requests_to_resend()) == Counter(
        line for line in lines if not (told[line] or NO_ID).startswith(NO_ID)
    )
    for line in lines:
        assert state.record_received(told[line] or b"")
    assert (state.count_pending(), state.requests_to_resend()) == (0, [])


@pytest.mark.parametrize("lines", EXAMPLES)
def test_nothing_waits_once_an_engine_has_answered(lines: list[bytes]) -> None:
    assert_nothing_waits(lines)


def test_nothing_waits_once_an_engine_has_answered_every_line(rounds: Rounds) -> None:
    rounds.check_inputs(assert_nothing_waits, st.lists(LINES | NOISE, max_size=8), examples=100, seconds=30)


def assert_repeated_if_answered(text: bytes) -> None:
    """A request is repeated just where an engine would answer it."""
    line = b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":"' + text + b'"}}\n'
    state = SessionState()
    state.record_sent(line)
    assert state.requests_to_resend() == ([line] if isinstance(decode(line), JSONRPCRequest) else [])


def test_a_request_that_an_engine_would_answer_is_repeated_by_the_next(rounds: Rounds) -> None:
    assert_repeated_if_answered(b"\xff")
    rounds.check_inputs(assert_repeated_if_answered, st.binary(max_size=4), examples=50, seconds=30)


class RelayMachine(RuleBasedStateMachine):
    """A client, engines that end, and the relay's memory between them."""

    def __init__(self) -> None:
        super().__init__()
        self.state = SessionState()
        self.waiting: list[tuple[int, bytes]] = []
        self.attempts: list[int] = []
        self.known = False
        self.subscribed: set[str] = set()

    @rule(identifier=st.integers(1, 3), method=METHODS, uri=st.sampled_from(["a:b", "c:d"]))
    def send(self, identifier: int, method: str, uri: str) -> None:
        line = message("2.0", identifier, method, {"uri": uri})
        self.state.record_sent(line)
        self.waiting.append((identifier, line))
        self.attempts.append(1)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), granted=st.booleans())
    def answer(self, data: st.DataObject, granted: bool) -> None:
        identifier = data.draw(st.sampled_from(self.waiting))[0]
        place = next(place for place, waiting in enumerate(self.waiting) if waiting[0] == identifier)
        request = json.loads(self.forget(place))
        if granted:
            self.note(request["method"], request["params"]["uri"])
            told: JSONRPCResponse | JSONRPCError = JSONRPCResponse(jsonrpc="2.0", id=identifier, result={})
        else:
            told = JSONRPCError(jsonrpc="2.0", id=identifier, error=ErrorData(code=1, message="no"))
        assert self.state.record_received(encode(told))

    def note(self, method: str, uri: str) -> None:
        self.known = self.known or method == "initialize"
        if method == "resources/subscribe":
            self.subscribed.add(uri)
        elif method == "resources/unsubscribe":
            self.subscribed.discard(uri)

    @rule(identifier=st.integers(1, 3), as_text=st.booleans())
    def cancel(self, identifier: int, as_text: bool) -> None:
        named = str(identifier) if as_text else identifier
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": named}}
        self.state.record_sent(json.dumps(told).encode() + b"\n")
        places = [place for place, waiting in enumerate(self.waiting) if waiting[0] == identifier]
        if places:
            self.forget(places[0])

    @rule(accepted=st.booleans(), times=st.sampled_from([1, 1, MAX_ATTEMPTS]))
    def engines_end(self, accepted: bool, times: int) -> None:
        for _ in range(times):
            self.engine_ends(accepted)

    def engine_ends(self, accepted: bool) -> None:
        """Each request goes to the next engine or is answered with an error, and never both."""
        self.attempts = [attempts + accepted for attempts in self.attempts]
        heads: dict[int, int] = {}
        for (identifier, _), attempts in zip(self.waiting, self.attempts, strict=True):
            heads.setdefault(identifier, attempts)
        repeated = self.state.requests_to_resend(accepted=accepted)
        errors = [json.loads(error)["id"] for error in self.state.give_up()]
        assert Counter(errors) == Counter(one for one, _ in self.waiting if heads[one] > MAX_ATTEMPTS)
        assert Counter(repeated) == Counter(line for one, line in self.waiting if heads[one] <= MAX_ATTEMPTS)
        for place in reversed(range(len(self.waiting))):
            if heads[self.waiting[place][0]] > MAX_ATTEMPTS:
                self.forget(place)
        told = [json.loads(line) for line in self.state.handshake() if line]
        assert bool(told) == self.known
        if told:
            uris = [one["params"]["uri"] for one in told if one["method"] == "resources/subscribe"]
            assert sorted(uris) == sorted(self.subscribed)

    def forget(self, place: int) -> bytes:
        self.attempts.pop(place)
        return self.waiting.pop(place)[1]

    @invariant()
    def counts(self) -> None:
        assert self.state.count_pending() == len(self.waiting)


def test_each_request_is_answered_once_however_many_engines_end(rounds: Rounds) -> None:
    rounds.run_machine(RelayMachine, examples=20, seconds=60)
