"""The model's own tokenizer as a token counter."""

import threading
from array import array
from collections.abc import Iterator, Sequence

from tokenizers import Encoding, Tokenizer

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput, LongText, TokenizedText
from mcp_server_embeddings.engine.identity import Prompts, Role
from mcp_server_embeddings.engine.windows import BLOCK, TokenOffsets, fitting_windows, token_offsets
from mcp_server_embeddings.errors import TextTooLongError

_GROUP_CHARACTERS = 100_000
"""Maximum characters of texts tokenized together, because an ``Encoding`` takes 100 bytes or more per token."""


class TextTokenizer:
    """Counts and cuts texts with the model's tokenizer.

    Truncation and padding are off and the tokenizer is never changed, so it is thread-safe: ``tokenizers`` fails with
    "Already borrowed" when one thread changes truncation while another encodes.

    Attributes:
        estimated: False: counts are of the model's own tokens.

    Args:
        tokenizer_json: In the format of the ``tokenizers`` library.
        prompts: The model's prompts.
        max_tokens: Token limit of one input, including prompt and special tokens; None for no limit.
    """

    estimated = False

    def __init__(self, tokenizer_json: str, prompts: Prompts, max_tokens: int | None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._truncating: Tokenizer | None = None
        self._lock = threading.Lock()
        self._prompts = prompts
        self._max_tokens = max_tokens

    def tokenize(
        self, texts: Sequence[str], role: Role, long_text: LongText, call: Call | None = None
    ) -> list[TokenizedText]:
        """Cut texts by the model's tokens; see ``TokenCounter.tokenize``."""
        call = call or Call()
        tokenized: list[TokenizedText] = []
        for group in _groups(texts):
            call.raise_if_cancelled()
            tokenized += self._tokenize_group(group, role, long_text, call)
        if long_text == "error":
            refuse_long([text.tokens for text in tokenized], self._max_tokens)
        return tokenized

    def count(self, texts: Sequence[str], call: Call | None = None) -> list[int]:
        """Count the tokens of each text; see ``TokenCounter.count``."""
        call = call or Call()
        counts: list[int] = []
        for group in _groups(texts):
            call.raise_if_cancelled()
            if _is_long(group[0]):
                counts.append(len(token_offsets(self._tokenizer, group[0], call)))
            else:
                counts += [len(e) for e in self._tokenizer.encode_batch_fast(group, add_special_tokens=False)]
        return counts

    def _tokenize_group(self, group: list[str], role: Role, long_text: LongText, call: Call) -> list[TokenizedText]:
        """Tokenize one long text, or several short ones together."""
        limit, prompt = self._max_tokens, self._prompts.of(role)
        if limit is not None and _is_long(group[0]):
            (text,) = group
            offsets = token_offsets(self._tokenizer, text, call)
            if len(offsets) > 2 * limit:  # over the limit whatever the prompt, so not tokenized with it
                return [self._over_limit(text, offsets, role, long_text, call, limit)]
        tokenized: list[TokenizedText] = []
        encodings = self._tokenizer.encode_batch_fast([prompt + text for text in group])
        for text, encoding in zip(group, encodings, strict=True):
            length = len(encoding)
            if limit is None or length <= limit or long_text == "error":
                tokenized.append(TokenizedText((_input(text, role, encoding),), (length,), length))
            else:
                offsets = token_offsets(self._tokenizer, text, call)
                tokenized.append(self._over_limit(text, offsets, role, long_text, call, limit))
        return tokenized

    def _over_limit(
        self, text: str, offsets: TokenOffsets, role: Role, long_text: LongText, call: Call, limit: int
    ) -> TokenizedText:
        prompt = self._prompts.of(role)
        if long_text == "error":  # rejected for its length, so the inputs are not needed
            return TokenizedText((), (), len(self._tokenizer.encode(prompt)) + len(offsets))
        if long_text == "truncate":
            beginning = text[: offsets.characters(0, min(2 * limit, len(offsets))).stop]
            only = _input(beginning, role, self._truncated(prompt + beginning, limit))
            return TokenizedText((only,), (limit,), limit, truncated=True)
        inputs: list[EncoderInput] = []
        weights: list[int] = []
        for window in fitting_windows(self._tokenizer, text, offsets, prompt, limit):
            call.raise_if_cancelled()
            inputs.append(_input(window.text, role, window.encoding))
            weights.append(window.tokens)
        return TokenizedText(tuple(inputs), tuple(weights), sum(part.tokens for part in inputs))

    def _truncated(self, text: str, limit: int) -> Encoding:
        """Encode with truncation that keeps special tokens, on a copy: the shared tokenizer is never changed."""
        with self._lock:
            if self._truncating is None:
                self._truncating = Tokenizer.from_str(self._tokenizer.to_str())
                self._truncating.enable_truncation(limit)
        return self._truncating.encode(text)


def refuse_long(lengths: list[int], limit: int | None, *, estimated: bool = False) -> None:
    """Reject texts over the limit.

    Args:
        lengths: Number of tokens of each text.
        limit: Token limit of the model; None for no limit.
        estimated: Whether the lengths are estimates.

    Raises:
        TextTooLongError: One of ``lengths`` is over ``limit``; names the first.
    """
    over = [i for i, n in enumerate(lengths) if limit is not None and n > limit]
    if over:
        about = "about " if estimated else ""
        raise TextTooLongError(
            f"text {over[0]} has {about}{lengths[over[0]]} tokens, the model reads {about}{limit}"
            f"{f' ({len(over)} texts are over the limit)' if len(over) > 1 else ''}; "
            "shorten it, or pass long_text='window' (averages overlapping windows) or 'truncate'"
        )


def _input(text: str, role: Role, encoding: Encoding) -> EncoderInput:
    """Create an input that stores each id in 4 bytes; in a list of Python integers an id takes 36."""
    return EncoderInput(text, role, len(encoding), array("i", encoding.ids))


def _is_long(text: str) -> bool:
    return len(text) >= 2 * BLOCK


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Group neighbouring texts to be tokenized together; a long text is a group by itself."""
    group: list[str] = []
    characters = 0
    for text in texts:
        if group and (_is_long(text) or _is_long(group[0]) or characters + len(text) > _GROUP_CHARACTERS):
            yield group
            group, characters = [], 0
        group.append(text)
        characters += len(text)
    if group:
        yield group
