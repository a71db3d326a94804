"""Bad input: every tool says what came, what is allowed and what to do."""

import json
import tracemalloc

import pytest

from calls import Arguments as Raw
from calls import call, error
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.mcp_layer.arguments import parse
from mcp_server_embeddings.tools.declaration import declared_tools

TWO = ["an apple", "an orange"]

BAD: list[tuple[str, Raw, tuple[str, ...]]] = [
    ("embed", {}, ("pass texts, a list of texts, or source", "tickets.csv#message")),
    ("embed", {"texts": []}, ("texts is an empty list", "1 to 2,000", "or a source")),
    ("embed", {"texts": [""]}, ("texts has only blank texts", "at least one visible character")),
    ("embed", {"texts": [" \n\t\u3000", " "]}, ("texts has only blank texts",)),
    ("embed", {"texts": ["a"] * 2001}, ("texts has 2,001 elements", "at most 2,000", "name it as source")),
    ("embed", {"texts": ["a" * 1_000_000, "b" * 1_000_001]}, ("2,000,001 characters", "position 1", "at most")),
    ("embed", {"texts": 5}, ("texts is 5 (int)", "a list of strings")),
    ("embed", {"texts": ["a", 3, None]}, ("texts[1] is 3 (int)", "texts[2] is None", "a string")),
    ("embed", {"texts": list(range(2000))}, ("texts[0] is 0 (int)", "and 1,996 more")),
    ("embed", {"texts": {"a": 1}}, ("texts['a'] is 1 (int)", "an object from id to text")),
    ("embed", {"texts": {"a" * 600: "b"}}, ("an id of 600 characters", "at most 512")),
    ("embed", {"texts": [{"id": 1, "text": "a"}, {"text": "b"}]}, ("1 objects without id", "or none")),
    ("embed", {"texts": None}, ("pass texts",)),
    ("embed", {"texts": ["a"], "source": "notes"}, ("either texts or source, not both",)),
    ("embed", {"texts": ["a"], "ids": [0]}, ("ids selects items of a source", "texts that are sent")),
    ("embed", {"texts": ["a"], "where": {"year": 1}}, ("where selects items of a source",)),
    ("embed", {"texts": ["a"], "id_field": "key"}, ("id_field selects items of a source",)),
    ("embed", {"source": "nowhere"}, ("there is no collection or file 'nowhere'", "folders that may be read")),
    ("embed", {"texts": ["a"], "txts": 1}, ("unknown argument 'txts'", "did you mean 'texts'?", "allowed: texts,")),
    ("embed", {"texts": ["a"], "role": "passage"}, ("role is 'passage'", "'query', 'document' or 'symmetric'")),
    ("embed", {"texts": ["a"], "dimensions": 0}, ("dimensions=0", "leave dimensions out")),
    ("embed", {"texts": ["a"], "dimensions": 100}, ("not known to be trained", "leave dimensions out")),
    ("embed", {"texts": ["a"], "dimensions": "many"}, ("dimensions is 'many' (str)", "a whole number")),
    ("embed", {"texts": ["a"], "dimensions": 1.5}, ("dimensions is 1.5", "a whole number")),
    ("embed", {"texts": ["a"], "encoding": "hex"}, ("encoding is 'hex'", "'float' or 'base64'")),
    ("embed", {"texts": ["a"], "save_as": "a.txt"}, ("save_as='a.txt'", "another ending", ".npy")),
    ("embed", {"texts": ["a"], "save_as": "../a.npy"}, ("save_as='../a.npy'", "contains '/'")),
    ("embed", {"texts": ["a"], "long_text": "cut"}, ("long_text is 'cut'", "'window', 'truncate' or 'error'")),
    ("similarity", {"left": ["a"]}, ("right is absent", "give right, or 2 or more texts")),
    ("similarity", {"right": ["a"]}, ("pass left",)),
    ("similarity", {"left": ["a"], "right": []}, ("right is an empty list",)),
    ("similarity", {"left": [], "right": ["a"]}, ("left is an empty list",)),
    ("similarity", {"left": ["a"], "right": [" "]}, ("right has only blank texts",)),
    ("similarity", {"left": ["a"], "left_source": "b"}, ("either left or left_source, not both",)),
    ("similarity", {"left": ["a", "b"], "metric": "cosin"}, ("metric is 'cosin'", "'cosine', 'dot'")),
    ("similarity", {"left": ["a", "b"], "top": 0}, ("top=0", "1 to 1,000")),
    ("similarity", {"left": ["a", "b"], "top": 1001}, ("top=1001", "1 to 1,000")),
    ("similarity", {"left": ["a", "b"], "top": "Infinity"}, ("top is 'Infinity'", "number")),
    ("search", {"query": " ", "texts": ["a"]}, ("query is empty", "say in a phrase or sentence")),
    ("condense", {"query": ["a"], "texts": ["a"]}, ("query is ['a'] (list)", "a string")),
    ("search", {"query": "a", "texts": []}, ("texts is an empty list",)),
    ("search", {"query": "a", "texts": ["a"], "top": 0}, ("top=0", "1 to 100")),
    ("search", {"query": "a", "texts": ["a"], "diversity": 1.5}, ("diversity=1.5", "0 to 1")),
    ("search", {"query": "a", "texts": ["a"], "diversity": "NaN"}, ("diversity=nan", "0 to 1")),
    ("search", {"query": "a", "texts": ["a"], "diversity": "much"}, ("diversity is 'much'", "a number")),
    ("search", {"query": "a", "texts": ["a"], "full": "perhaps"}, ("full is 'perhaps'", "true or false")),
    ("search", {"query": "a", "texts": ["a"], "mode": "fuzzy"}, ("mode is 'fuzzy'", "'hybrid'")),
    ("search", {"query": "a", "texts": ["a"] * 2001}, ("2,001 elements", "at most 2,000")),
    ("search", {"texts": ["a"]}, ("query",)),
    ("search", {"query": "a", "queries": ["b"], "texts": ["a"]}, ("quer",)),
    ("search", {"queries": ["a"] * 21, "texts": ["a"]}, ("20",)),
    ("classify", {"texts": ["a"], "labels": ["one"]}, ("labels has 1 label, 'one'", "2 or more", "use search")),
    ("classify", {"texts": ["a"], "labels": []}, ("labels",)),
    ("classify", {"texts": ["a"]}, ("labels", "examples")),
    ("classify", {"texts": TWO, "labels": ["x", "y", "x"]}, ("'x'", "twice")),
    ("classify", {"texts": TWO, "labels": ["card_lost", "Card  lost"]}, ("reads like 'card_lost'",)),
    ("classify", {"texts": TWO, "labels": ["x", "y\x01"]}, ("labels[1]", "no control ones")),
    ("classify", {"texts": TWO, "labels": ["x", " "]}, ("labels",)),
    ("classify", {"texts": TWO, "labels": ["x", "y" * 201]}, ("201 characters", "at most 200")),
    (
        "classify",
        {"texts": TWO, "labels": ["x", "y"], "examples": [{"text": "b"}]},
        ("examples[0]", "label and text or id"),
    ),
    ("classify", {"texts": TWO, "labels": ["x", "y"], "examples": ["b"]}, ("examples[0] is 'b'", "an object")),
    (
        "classify",
        {"texts": TWO, "labels": ["x", "y"], "examples": "b"},
        ("examples is 'b'", "an object with label and text or id"),
    ),
    ("classify", {"texts": TWO, "labels": ["x", "y"], "top": 2001}, ("top=2001", "1 to 1,000")),
    ("cluster", {"texts": ["a"]}, ("texts has 1", "2 or more")),
    ("cluster", {"texts": TWO, "clusters": 3}, ("clusters=3",)),
    ("cluster", {"texts": TWO, "clusters": 0}, ("clusters=0",)),
    ("cluster", {"texts": TWO, "clusters": 1.5}, ("clusters is 1.5", "a whole number")),
    ("cluster", {"texts": TWO, "tag": "kind"}, ("tag='kind'", "texts is not one", "save_as", "collection_add")),
    ("deduplicate", {"texts": ["a"]}, ("texts has 1", "2 or more")),
    ("deduplicate", {"texts": TWO, "threshold": 1.01}, ("threshold=1.01", "from 0 to 1", "leave it out")),
    ("deduplicate", {"texts": TWO, "threshold": -0.1}, ("threshold=-0.1", "from 0 to 1")),
    ("deduplicate", {"texts": TWO, "threshold": "high"}, ("threshold is 'high'", "a number")),
    ("deduplicate", {"texts": TWO, "keep": "last"}, ("keep is 'last'", "'longest' or 'first'")),
    ("align", {}, ("left (or left_source) and right (or right_source) are missing", "give both sides")),
    ("align", {"left": ["a"]}, ("right",)),
    ("align", {"right": ["a"]}, ("left",)),
    ("align", {"left": ["a"], "right": []}, ("right is an empty list",)),
    ("align", {"left": ["a"], "right": ["b"], "threshold": 2}, ("threshold=2", "from 0 to 1")),
    ("condense", {"texts": ["a", "b"]}, ("neither max_tokens nor count", "say how many")),
    (
        "condense",
        {"texts": ["some words", "more words"], "max_tokens": 1},
        ("max_tokens=1", "2 tokens", "give 2 or more"),
    ),
    ("condense", {"texts": ["a", "b"], "max_tokens": 0}, ("max_tokens=0", "1 to")),
    ("condense", {"texts": ["a", "b"], "count": 0}, ("count=0", "1 to 1,000")),
    ("condense", {"texts": ["a", "b"], "count": 1, "query": ""}, ("query is empty",)),
    ("condense", {"texts": "Only one sentence.", "count": 1}, ("one item and one sentence of 4 words", "give more")),
    (
        "condense",
        {"texts": "It has a few sentences. Cats purr.", "count": 1},
        ("one sentence of 4 words or more", "give more"),
    ),
    ("read", {"source": "nowhere", "ids": ["a"]}, ("there is no collection or file 'nowhere'",)),
    ("read", {"ids": ["a"]}, ("source is missing",)),
    ("collection_add", {"collection": "c"}, ("pass either texts or source",)),
    ("collection_add", {"collection": "c", "texts": ["a"], "metadata": [1]}, ("metadata[0] is 1", "an object")),
    ("collection_remove", {"collection": "c"}, ("neither of ids and all=true",)),
    ("status", {"verbose": True}, ("unknown argument 'verbose'", "allowed: none")),
]


@pytest.mark.parametrize(("tool", "arguments", "parts"), BAD)
def test_bad_input_is_an_error_that_says_what_to_do(
    engine: Engine, tool: str, arguments: Raw, parts: tuple[str, ...]
) -> None:
    message = error(call(engine, tool, arguments))
    for part in parts:
        assert part in message
    assert "pydantic" not in message
    assert len(message) < 600


def test_a_number_without_end_is_refused() -> None:
    """JSON has no word for it, and clients send null instead; but 1e999 is read as infinity."""
    with pytest.raises(InputError, match=r"top is inf .*; allowed: a whole number"):
        parse(declared_tools()["similarity"].arguments, {"left": ["a", "b"], "top": float("inf")})


MANY = 200_000

FLOODS: list[tuple[str, Raw, tuple[str, ...]]] = [
    ("embed", {"texts": [0] * MANY}, ("texts has 200,000 elements", "at most 2,000", "source")),
    ("embed", {"texts": json.dumps(["a"] * MANY)}, ("texts has 200,000 elements", "at most 2,000", "source")),
    ("embed", {"texts": [[0] * MANY]}, ("texts[0] is [0, 0", "(list)", "a string")),
    ("embed", {"texts": {str(n): n for n in range(MANY)}}, ("texts has 200,000 texts", "at most 2,000")),
    ("embed", {"texts": [{str(n): n for n in range(MANY)}]}, ("texts[0] has 200,000 keys", "at most 200")),
    ("search", {"query": "a", "source": "b", "ids": [[]] * MANY}, ("ids",)),
    ("classify", {"labels": {str(n): n for n in range(MANY)}}, ("labels",)),
    ("classify", {"labels": ["a"], "examples": {str(n): [0] for n in range(MANY)}}, ("examples has 200,000",)),
    (
        "embed",
        {"texts": ["a"], **{f"wrong{n}": n for n in range(MANY)}},
        ("unknown argument 'wrong0'", "and 199,996 more faults"),
    ),
    ("classify", {"labels": ["a"], "examples": [0] * MANY}, ("examples has 200,000 elements",)),
    (
        "classify",
        {"labels": ["a"], "examples": [{"text": "a", "label": "b", **{f"wrong{n}": n for n in range(MANY)}}]},
        ("examples[0] has 200,002 keys", "at most 200"),
    ),
    ("collection_add", {"collection": "c", "metadata": [0] * MANY}, ("metadata has 200,000 elements",)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "raw", "parts"), FLOODS)
def test_many_wrong_values_cost_no_more_than_the_first_few(tool: str, raw: Raw, parts: tuple[str, ...]) -> None:
    """Each of them as a fault of its own, with a sentence, cost 600 bytes for every byte sent."""
    arguments = declared_tools()[tool].arguments
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as refused:
            parse(arguments, raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for part in parts:
        assert part in str(refused.value)
    assert len(str(refused.value)) < 600
    assert peak < 100 * MANY
