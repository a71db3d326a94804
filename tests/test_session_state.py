"""What a relay keeps of its session."""

import json
from typing import Any

import pytest

from mcp_server_embeddings.relay.session_state import MAX_ATTEMPTS, SessionState


def line(method: str, identifier: object = None, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if identifier is None else {**message, "id": identifier}).encode() + b"\n"


def answer(identifier: object) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + json.dumps(identifier).encode() + b',"result":{}}\n'


def methods(lines: Any) -> list[str]:
    return [json.loads(line)["method"] for line in lines]


@pytest.mark.parametrize("identifier", [1, -7, "a", 'quoted "\\u00e9" é', "x" * 999, 10**30])
def test_a_request_is_repeated_until_it_is_answered(identifier: object) -> None:
    state = SessionState()
    state.record_sent(line("tools/call", identifier))
    assert state.requests_to_resend() == [line("tools/call", identifier)]
    assert state.record_received(answer(identifier))
    assert (state.count_pending(), state.requests_to_resend()) == (0, [])


def test_a_whole_number_with_a_decimal_point_is_the_integer() -> None:
    state = SessionState()
    state.record_sent(line("ping", 1.0))
    state.record_received(answer(1))
    assert state.count_pending() == 0


def test_a_number_and_its_text_are_two_ids_and_one_used_twice_is_answered_twice() -> None:
    state = SessionState()
    for identifier in (1, "1", 1):
        state.record_sent(line("ping", identifier))
    state.record_received(answer("1"))
    state.record_received(answer(1))
    assert state.requests_to_resend() == [line("ping", 1)]


def test_a_cancelled_request_is_not_repeated() -> None:
    state = SessionState()
    state.record_sent(line("tools/call", 5))
    state.record_sent(line("notifications/cancelled", requestId=5))
    assert state.requests_to_resend() == []


@pytest.mark.parametrize("text", [b"\n", b"no JSON\n", b"[]\n", b'{"id": [1]}\n', b'{"id": true, "method": "a"}\n'])
def test_what_is_no_request_is_not_kept(text: bytes) -> None:
    state = SessionState()
    state.record_sent(text)
    assert state.requests_to_resend() == []


def test_the_handshake_and_what_stands_are_repeated_under_ids_of_the_relay() -> None:
    state = SessionState()
    state.record_sent(line("initialize", 1))
    assert list(state.handshake()) == []  # unanswered, it is repeated itself
    state.record_received(answer(1))
    state.record_sent(line("notifications/initialized"))
    for number, uri in enumerate(("a", "b", "a")):
        state.record_sent(line("resources/subscribe", 10 + number, uri=uri))
        state.record_received(answer(10 + number))
    state.record_sent(line("resources/unsubscribe", 20, uri="b"))
    state.record_received(answer(20))
    repeated = list(state.handshake())
    assert methods(repeated) == ["initialize", "notifications/initialized", "resources/subscribe"]
    for message in map(json.loads, repeated):
        assert "id" not in message or not state.record_received(answer(message["id"]))
    assert methods(state.change_notifications()) == [
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    ]


def test_progress_of_the_next_engine_is_passed_on_once_it_goes_further() -> None:
    state = SessionState()
    state.record_sent(line("tools/call", 1, _meta={"progressToken": "t"}))

    def passed(progress: float) -> bool:
        params = {"progressToken": "t", "progress": progress}
        message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        return state.record_received(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    assert [passed(progress) for progress in (1, 2.5, 0.5, 2.5, 3)] == [True, True, False, False, True]
    state.record_received(answer(1))
    assert passed(1)


def test_a_request_that_ends_every_engine_is_answered_with_an_error_and_the_others_are_repeated() -> None:
    state = SessionState()
    state.record_sent(line("tools/call", 1))
    for _ in range(MAX_ATTEMPTS - 1):
        assert state.requests_to_resend() == [line("tools/call", 1)]
        assert state.give_up() == []
    state.record_sent(line("ping", 2))
    assert state.requests_to_resend() == [line("ping", 2)]
    (error,) = map(json.loads, state.give_up())
    assert error["id"] == 1
    assert "ended whenever it worked on this" in error["error"]["message"]
    assert state.count_pending() == 1


def test_each_request_of_an_id_that_is_used_twice_is_answered_when_all_are_given_up() -> None:
    state = SessionState()
    for identifier in (1, 1, "a"):
        state.record_sent(line("tools/call", identifier))
    assert [json.loads(error)["id"] for error in state.give_up(every=True)] == [1, 1, "a"]
    assert state.count_pending() == 0


def test_engines_that_had_not_accepted_the_session_count_for_no_request() -> None:
    state = SessionState()
    state.record_sent(line("tools/call", 1))
    for _ in range(3 * MAX_ATTEMPTS):
        assert state.requests_to_resend(accepted=False) == [line("tools/call", 1)]
    assert state.give_up() == []
