"""Decode bytes: by byte order mark, as UTF-8, by a declared encoding, or by the best guess."""

import codecs
import re

from mcp_server_embeddings.reading.document import UnreadableError

_BINARY_CHECK_BYTES = 8_192
"""A NUL within these first bytes means a binary file."""

_WINDOW = 65_536
"""Number of bytes from which an encoding is guessed."""

_BYTE_ORDER_MARKS = (  # UTF-32 before UTF-16, whose little-endian mark is a prefix of UTF-32's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CANDIDATES = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
"""Encodings in common use. If all of Python's encodings compete, a short German text is taken for Mac Turkish."""

_DECLARABLE = re.compile(r"(ascii|iso8859-\d+|cp\d+|koi8-[ru]|mac-\w+|shift_jis|euc_(jp|kr)|gb\w+|big5\w*|utf-(8|16))")
_CONTROL = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_UNUSABLE = re.compile(r"[\x00\ud800-\udfff]")


def decoded(content: bytes, declared: str = "") -> str:
    r"""Decode a file, keeping line ends and removing a byte order mark.

    Args:
        content: The file.
        declared: The encoding that the file itself declares, if any; used if the content is not UTF-8.

    Raises:
        UnreadableError: It is binary, or its encoding is unknown.

    Example:
        >>> decoded(b"caf\xc3\xa9")
        'café'
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return clean(content.decode(encoding, "replace"))
    if b"\0" in content[:_BINARY_CHECK_BYTES]:
        raise UnreadableError("binary")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        text = content.decode(_guess_encoding(content, error.start, declared), "replace")
    if len(_CONTROL.findall(text, 0, _WINDOW)) > len(text[:_WINDOW]) // 100:
        raise UnreadableError("binary")
    if text.count("\ufffd") > len(text) // 100:
        raise UnreadableError("not text in a known encoding; save it as UTF-8")
    return clean(text)


def clean(text: str) -> str:
    """Replace NUL, which databases reject, and unpaired surrogates, which tokenizers reject, by U+FFFD."""
    return text if text.isascii() and "\0" not in text else _UNUSABLE.sub("\ufffd", text)


def _guess_encoding(content: bytes, invalid: int, declared: str) -> str:
    """Guess the encoding of bytes that are not UTF-8 at offset ``invalid``.

    Raises:
        UnreadableError: None fits.
    """
    try:
        name = codecs.lookup(declared).name if declared else ""
    except LookupError:
        name = ""
    if _DECLARABLE.fullmatch(name):
        return "cp1252" if name == "iso8859-1" else name  # as browsers do: ISO 8859-1 is declared where cp1252 is used
    # Guess from the bytes around the first invalid one, since everything before it may be ASCII. Start at a line, so
    # that the window does not begin inside a character.
    start = content.rfind(b"\n", 0, max(0, invalid - _WINDOW // 2)) + 1
    if invalid - start > _WINDOW:
        start = max(0, invalid - _WINDOW // 2)
    window = content[start : start + _WINDOW]
    if _is_damaged_utf8(window):
        return "utf-8"
    from charset_normalizer import from_bytes

    match = from_bytes(window, cp_isolation=list(_CANDIDATES)).best()
    if match is None:
        raise UnreadableError("binary, or text in an unknown encoding: save it as UTF-8")
    return str(match.encoding)


def _is_damaged_utf8(window: bytes) -> bool:
    """Tell whether most non-ASCII bytes form UTF-8 characters, which is rare by chance in other encodings."""
    valid = window.decode("utf-8", "ignore").encode()
    return sum(byte > 127 for byte in valid) > len(window) - len(valid)
