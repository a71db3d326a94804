"""Prompts with their completions, and what a client can read."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import PromptReference, ResourceTemplateReference, TextContent, TextResourceContents

from calls import client
from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.prompts import served_prompts
from mcp_server_embeddings.tools.declaration import declared_tools
from mcp_server_embeddings.vectors.calibration import BANDS

T = TypeVar("T")


def ask(engine: Engine, work: Callable[[Client], Awaitable[T]]) -> T:
    """One piece of work with a client of its own."""

    async def main() -> T:
        async with client(engine) as connected:
            return await work(connected)

    return anyio.run(main)


def message(engine: Engine, name: str, arguments: dict[str, str]) -> str:
    result = ask(engine, lambda connected: connected.get_prompt(name, arguments))
    (only,) = result.messages
    assert isinstance(only.content, TextContent)
    assert only.role == "user"
    return only.content.text


def completed(engine: Engine, prompt: str, argument: str, begun: str) -> list[str]:
    reference = PromptReference(type="ref/prompt", name=prompt)
    given = {"name": argument, "value": begun}
    return ask(engine, lambda connected: connected.complete(reference, given)).completion.values


def read(engine: Engine, uri: str) -> tuple[str, str | None, int]:
    """A resource's text, its type and for how long it may be kept."""
    result = ask(engine, lambda connected: connected.read_resource(uri))
    (contents,) = result.contents
    assert isinstance(contents, TextResourceContents)
    return contents.text, contents.mime_type, result.ttl_ms


FILLED: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "find_duplicates": ({"texts": "red\nblue"}, ("deduplicate", "keep=longest", "red\nblue")),
    "sort_feedback": ({"texts": "red\nblue", "themes": "4"}, ("deduplicate", "cluster", "clusters=4", "red\nblue")),
    "diff_requirements": (
        {"old": "red\ngreen", "new": "blue\ngreen"},
        ("align", "left", "right", "Old:\nred\ngreen", "New:\nblue\ngreen"),
    ),
    "choose_context": (
        {"texts": "red\nblue", "question": "what's new?"},
        ("condense", "max_tokens=1000", "what's new?"),
    ),
}


def test_every_prompt_is_listed_with_words_for_people(engine: Engine) -> None:
    listed = ask(engine, lambda connected: connected.list_prompts()).prompts
    assert [prompt.name for prompt in listed] == list(FILLED)
    for prompt in listed:
        assert prompt.title
        assert prompt.description
        assert all(argument.description for argument in prompt.arguments or [])


@pytest.mark.parametrize("name", FILLED)
def test_a_prompt_names_its_tool_and_holds_what_was_filled_in(engine: Engine, name: str) -> None:
    arguments, parts = FILLED[name]
    written = message(engine, name, arguments)
    assert all(part in written for part in parts)
    tools = set(declared_tools())
    assert {word.strip(".,:;") for word in written.split()} & tools


@pytest.mark.parametrize("source", ["tickets", "tickets.csv#message", "~/my files/notes.md", "docs/", "*.txt"])
def test_a_source_is_passed_by_its_name_and_not_repeated_as_texts(engine: Engine, source: str) -> None:
    assert f"source={source!r}" in message(engine, "find_duplicates", {"texts": source})
    written = message(engine, "diff_requirements", {"old": source, "new": "one\ntwo"})
    assert f"left_source={source!r}" in written
    assert written.endswith("New:\none\ntwo")


@pytest.mark.parametrize("texts", ['["red", "blue"]', "It costs 3.5", "Either this and/or that.", "x " * 200])
def test_a_line_of_text_is_no_source(engine: Engine, texts: str) -> None:
    written = message(engine, "choose_context", {"texts": texts})
    assert "source=" not in written
    assert written.endswith(texts)


def test_prompts_talk_of_ids_and_not_of_positions(engine: Engine) -> None:
    for name, (arguments, _) in FILLED.items():
        assert "position" not in message(engine, name, arguments)


def test_a_blank_optional_argument_is_as_good_as_none(engine: Engine) -> None:
    blank = message(engine, "sort_feedback", {"texts": "red\nblue", "themes": " "})
    assert blank == message(engine, "sort_feedback", {"texts": "red\nblue"})
    assert "clusters=" not in blank


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("find_duplicate", {}, ("no prompt 'find_duplicate'", "did you mean 'find_duplicates'?")),
        ("find_duplicates", {}, ("needs 'texts'", "one text a line")),
        ("find_duplicates", {"texts": "  "}, ("needs 'texts'",)),
        ("find_duplicates", {"texts": "a", "kept": "first"}, ("no argument 'kept'", "did you mean 'keep'?")),
        ("find_duplicates", {"texts": "a", "keep": "last"}, ("keep is 'last'", "longest, first")),
        ("sort_feedback", {"texts": "a", "themes": "some"}, ("themes is 'some'", "a whole number")),
        ("choose_context", {"texts": "a", "max_tokens": "0"}, ("max_tokens is '0'", "from 1")),
    ],
)
def test_a_wrong_argument_is_an_error_that_says_what_to_do(
    engine: Engine, name: str, arguments: dict[str, str], parts: tuple[str, ...]
) -> None:
    async def refused(connected: Client) -> str:
        with pytest.raises(MCPError) as caught:
            await connected.get_prompt(name, arguments)
        assert caught.value.error.code == -32602
        return caught.value.error.message

    written = ask(engine, refused)
    assert all(part in written for part in parts)


def test_arguments_are_completed_from_what_was_begun(engine: Engine) -> None:
    assert completed(engine, "find_duplicates", "keep", "") == ["longest", "first"]
    assert completed(engine, "find_duplicates", "keep", "Fi") == ["first"]
    assert completed(engine, "sort_feedback", "themes", "1") == ["10", "11", "12"]
    assert completed(engine, "choose_context", "max_tokens", "4") == ["4000"]
    assert completed(engine, "choose_context", "texts", "any") == []


def test_every_choice_that_is_offered_is_taken(engine: Engine) -> None:
    prompts = served_prompts(declared_tools())
    for name, (arguments, _) in FILLED.items():
        for argument, choices in prompts[name].choices.items():
            for choice in choices:
                assert choice in message(engine, name, {**arguments, argument: choice})


def test_completing_what_is_no_prompt_of_ours_is_refused_or_empty(engine: Engine) -> None:
    async def refused(connected: Client) -> None:
        with pytest.raises(MCPError, match="no prompt 'other'"):
            await connected.complete(PromptReference(type="ref/prompt", name="other"), {"name": "a", "value": ""})
        template = ResourceTemplateReference(type="ref/resource", uri="embeddings://{x}")
        assert (await connected.complete(template, {"name": "x", "value": ""})).completion.values == []

    ask(engine, refused)


def test_the_resources_are_models_status_and_guide(engine: Engine) -> None:
    listed = ask(engine, lambda connected: connected.list_resources()).resources
    assert [resource.uri for resource in listed][:4] == [
        "embeddings://models",
        "embeddings://status",
        "embeddings://guide",
        "embeddings://collections",
    ]


def test_the_status_resource_says_what_the_tool_says_and_is_never_kept(engine: Engine) -> None:
    engine.embedder().calibration()
    written, kind, fresh = read(engine, "embeddings://status")
    status: dict[str, Any] = json.loads(written)
    assert (status["state"], status["calibrated"], kind, fresh) == ("ready", True, "application/json", 0)
    assert status["model"] == engine.embedder().identity().short


def test_the_models_resource_may_be_kept(engine: Engine) -> None:
    _, _, fresh = read(engine, "embeddings://models")
    assert fresh > 0


def test_the_guide_gives_this_models_own_edges_for_texts_and_for_searches(engine: Engine) -> None:
    written, kind, _ = read(engine, "embeddings://guide")
    assert kind == "text/markdown"
    embedder = engine.embedder()
    assert embedder.identity().short in written
    for calibration in (embedder.calibration(), embedder.calibration("retrieval")):
        for band, edge in zip(BANDS[1:], calibration.edges, strict=True):
            assert f"| {band} | {edge:.3f} |" in written
    assert all(name in written for name in declared_tools() if name != "status")


def test_the_guide_says_so_when_the_model_cannot_be_loaded(tmp_path: Path) -> None:
    with Engine(Settings(model=str(tmp_path / "nowhere"), data_dir=tmp_path)) as broken:
        written, _, _ = read(broken, "embeddings://guide")
    assert "figures are missing" in written
    assert "does not exist; pass a folder" in written
    assert "Judge by it" in written


def test_reading_the_guide_does_not_hold_up_other_requests(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    encoder.gate.clear()

    async def main(engine: Engine) -> None:
        async with client(engine) as connected, anyio.create_task_group() as tasks:
            tasks.start_soon(connected.read_resource, "embeddings://guide")
            assert (await connected.list_prompts()).prompts
            status = json.loads((await connected.read_resource("embeddings://status")).contents[0].model_dump()["text"])
            assert status["calibrated"] is False
            encoder.gate.set()

    with Engine(Settings(data_dir=tmp_path, cache_dir=tmp_path), encoder.load) as engine:
        anyio.run(main, engine)


@pytest.mark.slow
def test_only_what_is_served_is_recommended(engine: Engine, data_dir: Path) -> None:
    with Engine(Settings(data_dir=data_dir, tools=("core", "align"))) as other:
        listed = ask(other, lambda connected: connected.list_prompts()).prompts
        assert [prompt.name for prompt in listed] == ["diff_requirements"]
        written, _, _ = read(other, "embeddings://guide")
    assert "search" in written
    assert "deduplicate" not in written
    with Engine(Settings(data_dir=data_dir, tools=("core",))) as other:
        assert ask(other, lambda connected: connected.list_prompts()).prompts == []
