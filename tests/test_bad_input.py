"""Bad input: every tool says what came, what is allowed and what to do."""

import pytest

from calls import Arguments, call, error
from mcp_server_embeddings.engine.engine import Engine

BAD: list[tuple[str, Arguments, tuple[str, ...]]] = [
    ("embed", {}, ("texts is missing",)),
    ("embed", {"texts": []}, ("texts is an empty list", "1 to 2,000")),
    ("embed", {"texts": ["a", ""]}, ("texts[1] is empty", "leave blank ones out")),
    ("embed", {"texts": [" \n\t\u3000", "a", " "]}, ("texts[0]", "1 more are")),
    ("embed", {"texts": ["a"] * 2001}, ("2,001 texts", "at most 2,000", "split")),
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
    ("similarity", {"left": ["a", "b"], "top": float("inf")}, ("top is", "number")),
    ("status", {"verbose": True}, ("unknown argument 'verbose'", "allowed: none")),
]


@pytest.mark.parametrize(("tool", "arguments", "parts"), BAD)
def test_bad_input_is_an_error_that_says_what_to_do(
    engine: Engine, tool: str, arguments: Arguments, parts: tuple[str, ...]
) -> None:
    message = error(call(engine, tool, arguments))
    for part in parts:
        assert part in message
    assert "pydantic" not in message
    assert len(message) < 600
