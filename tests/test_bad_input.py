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

BAD: list[tuple[str, Raw, tuple[str, ...]]] = [
    ("embed", {}, ("texts is missing",)),
    ("embed", {"texts": []}, ("texts is an empty list", "1 to 2,000")),
    ("embed", {"texts": ["a", ""]}, ("texts[1] is empty", "leave blank ones out")),
    ("embed", {"texts": [" \n\t\u3000", "a", " "]}, ("texts[0]", "1 more are")),
    ("embed", {"texts": ["a"] * 2001}, ("texts has 2,001 elements", "at most 2,000", "split")),
    ("embed", {"texts": ["a" * 1_000_000, "b" * 1_000_001]}, ("2,000,001 characters", "position 1", "at most")),
    ("embed", {"texts": 5}, ("texts is 5 (int)", "a list of strings")),
    ("embed", {"texts": ["a", 3, None]}, ("texts[1] is 3 (int)", "texts[2] is None", "a string")),
    ("embed", {"texts": list(range(2000))}, ("texts[0] is 0 (int)", "and 1,996 more faults")),
    ("embed", {"texts": {"a": "b"}}, ("texts is {'a': 'b'} (dict)", "a list of strings")),
    ("embed", {"texts": None}, ("texts is None", "a list of strings")),
    ("embed", {"texts": ["a"], "txts": 1}, ("unknown argument 'txts'", "did you mean 'texts'?", "allowed: texts,")),
    ("embed", {"texts": ["a"], "role": "passage"}, ("role is 'passage'", "'query', 'document' or 'symmetric'")),
    ("embed", {"texts": ["a"], "dimensions": 0}, ("dimensions=0", "leave dimensions out")),
    ("embed", {"texts": ["a"], "dimensions": 100}, ("not known to be trained", "leave dimensions out")),
    ("embed", {"texts": ["a"], "dimensions": "many"}, ("dimensions is 'many' (str)", "a whole number")),
    ("embed", {"texts": ["a"], "dimensions": 1.5}, ("dimensions is 1.5", "a whole number")),
    ("embed", {"texts": ["a"], "encoding": "hex"}, ("encoding is 'hex'", "'float' or 'base64'")),
    ("embed", {"texts": ["a"], "output": "stdout"}, ("output is 'stdout'", "'auto', 'inline' or 'file'")),
    ("embed", {"texts": ["a"], "long_text": "cut"}, ("long_text is 'cut'", "'window', 'truncate' or 'error'")),
    ("similarity", {"left": ["a"]}, ("right is absent", "give right, or 2 or more texts")),
    ("similarity", {"right": ["a"]}, ("left is missing",)),
    ("similarity", {"left": ["a"], "right": []}, ("right is an empty list",)),
    ("similarity", {"left": [], "right": ["a"]}, ("left is an empty list",)),
    ("similarity", {"left": ["a"], "right": [" "]}, ("right[0] is empty",)),
    ("similarity", {"left": ["a"] * 1500, "right": ["b"] * 501}, ("2,001 texts", "at most 2,000")),
    ("similarity", {"left": ["a", "b"], "metric": "cosin"}, ("metric is 'cosin'", "'cosine', 'dot'")),
    ("similarity", {"left": ["a", "b"], "top": 0}, ("top=0", "1 to 1,000")),
    ("similarity", {"left": ["a", "b"], "top": 1001}, ("top=1001", "1 to 1,000")),
    ("similarity", {"left": ["a", "b"], "top": "Infinity"}, ("top is 'Infinity'", "number")),
    ("rank", {"texts": ["a"]}, ("query is missing",)),
    ("rank", {"query": " ", "texts": ["a"]}, ("query is empty", "say in a phrase or sentence")),
    ("rank", {"query": ["a"], "texts": ["a"]}, ("query is ['a'] (list)", "a string")),
    ("rank", {"query": "a", "texts": []}, ("texts is an empty list",)),
    ("rank", {"query": "a", "texts": ["a"], "top": 0}, ("top=0", "1 to 1,000")),
    ("rank", {"query": "a", "texts": ["a"], "diversity": 1.5}, ("diversity=1.5", "0 to 1")),
    ("rank", {"query": "a", "texts": ["a"], "diversity": "NaN"}, ("diversity=nan", "0 to 1")),
    ("rank", {"query": "a", "texts": ["a"], "diversity": "much"}, ("diversity is 'much'", "a number")),
    ("rank", {"query": "a", "texts": ["a"], "spans": "perhaps"}, ("spans is 'perhaps'", "true or false")),
    ("rank", {"query": "a", "texts": ["a"] * 2001}, ("2,001 elements", "at most 2,000")),
    ("classify", {"texts": ["a"], "labels": ["one"]}, ("labels has 1 label, 'one'", "2 or more", "use rank")),
    ("classify", {"texts": ["a"], "labels": []}, ("labels is an empty list",)),
    (
        "classify",
        {"texts": ["a"], "labels": ["x", "y", "x"]},
        ("'x', which is there twice", "each label once"),
    ),
    (
        "classify",
        {"texts": ["a"], "labels": ["card_lost", "Card  lost"]},
        ("reads like 'card_lost'",),
    ),
    ("classify", {"texts": ["a"], "labels": ["x", "y\x01"]}, ("labels[1] has control characters", "leave them out")),
    ("classify", {"texts": ["a"], "labels": ["x", " "]}, ("labels[1] is empty",)),
    ("classify", {"texts": ["a"], "labels": ["x", "y" * 201]}, ("labels[1] has 201 characters", "at most 200")),
    (
        "classify",
        {"texts": ["a"], "labels": ["x", "y", "z"], "examples": [{"text": "b", "label": "x"}]},
        ("2 of 3 labels have no example, the first is 'y'", "or leave examples out"),
    ),
    (
        "classify",
        {"texts": ["a"], "labels": ["x", "y"], "examples": [{"text": "b", "label": "w"}]},
        ("examples[0] has the label 'w', which is not in labels", "add it there"),
    ),
    (
        "classify",
        {"texts": ["a"], "labels": ["x", "y"], "examples": [{"text": "b"}]},
        ("examples[0].label is missing",),
    ),
    (
        "classify",
        {"texts": ["a"], "labels": ["x", "y"], "examples": [{"text": "b", "label": "x", "lable": "x"}]},
        ("unknown argument 'examples[0].lable'", "did you mean 'label'?", "allowed: text, label"),
    ),
    ("classify", {"texts": ["a"], "labels": ["x", "y"], "examples": ["b"]}, ("examples[0] is 'b'", "an object")),
    ("classify", {"texts": ["a"], "labels": ["x", "y"], "examples": "b"}, ("examples is 'b'", "a list of objects")),
    (
        "classify",
        {"texts": ["a"], "labels": ["x", "y"], "examples": [{"text": " ", "label": "x"}, {"text": "b", "label": "y"}]},
        ("examples[0] is empty",),
    ),
    ("classify", {"texts": ["a"], "labels": ["x", "y"], "top": 2001}, ("top=2001", "1 to 2,000")),
    ("classify", {"texts": ["a"] * 1999, "labels": ["x", "y"]}, ("2,001 texts", "at most 2,000")),
    ("cluster", {"texts": ["a"]}, ("texts has 1 text", "give 2 or more")),
    ("cluster", {"texts": ["a", "b"], "clusters": 3}, ("clusters=3", "2 texts", "1 to 2", "leave it out")),
    ("cluster", {"texts": ["a", "b"], "clusters": 0}, ("clusters=0", "1 to 2")),
    ("cluster", {"texts": ["a", "a", "A"], "clusters": 2}, ("clusters=2", "different meanings among these texts, 1;")),
    ("cluster", {"texts": ["a", "b"], "clusters": 1.5}, ("clusters is 1.5", "a whole number")),
    ("cluster", {"texts": ["a", "b"], "top": 0}, ("top=0", "1 to 2,000")),
    ("deduplicate", {"texts": ["a"]}, ("texts has 1 text", "give 2 or more")),
    ("deduplicate", {"texts": ["a", "b"], "threshold": 1.01}, ("threshold=1.01", "from 0 to 1", "leave it out")),
    ("deduplicate", {"texts": ["a", "b"], "threshold": -0.1}, ("threshold=-0.1", "from 0 to 1")),
    ("deduplicate", {"texts": ["a", "b"], "threshold": "high"}, ("threshold is 'high'", "a number")),
    ("deduplicate", {"texts": ["a", "b"], "keep": "last"}, ("keep is 'last'", "'longest' or 'first'")),
    ("align", {"left": ["a"]}, ("left of left, right and collection came", "give exactly two")),
    ("align", {"left": ["a"], "right": []}, ("right is an empty list",)),
    ("align", {"left": ["a"], "right": ["b"], "threshold": 2}, ("threshold=2", "from 0 to 1")),
    ("align", {"left": ["a"] * 1000, "right": ["b"] * 1001}, ("2,001 texts", "at most 2,000")),
    ("condense", {"texts": ["a", "b"]}, ("neither max_tokens nor count", "say how many")),
    (
        "condense",
        {"texts": ["some words", "more words"], "max_tokens": 1},
        ("max_tokens=1", "2 tokens", "give 2 or more"),
    ),
    ("condense", {"texts": ["a", "b"], "max_tokens": 0}, ("max_tokens=0", "1 to")),
    ("condense", {"texts": ["a", "b"], "count": 0}, ("count=0", "1 to 2,000")),
    ("condense", {"texts": ["a", "b"], "count": 1, "query": ""}, ("query is empty",)),
    ("condense", {"texts": "Only one sentence.", "count": 1}, ("one text of one sentence", "give more")),
    ("condense", {"texts": "Stop. " * 2001, "count": 1}, ("2,001 sentences", "at most 2,000", "cut it")),
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
    ("embed", {"texts": [0] * MANY}, ("texts has 200,000 elements", "at most 2,000", "split")),
    ("embed", {"texts": json.dumps(["a"] * MANY)}, ("texts has 200,000 elements", "at most 2,000", "split")),
    ("embed", {"texts": [[0] * MANY]}, ("texts[0] is [0, 0", "(list)", "a string")),
    ("embed", {"texts": {str(n): n for n in range(MANY)}}, ("texts is {", "(dict)", "a list of strings")),
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
