"""Bytes as text: UTF-8, whatever a byte order mark says, else the best guess."""

import codecs
import re

from mcp_server_embeddings.reading.document import UnreadableError

_LOOKED_AT = 8_192
"""Bytes in which a NUL tells a binary file."""

_WINDOW = 65_536
"""Bytes that an encoding is guessed from."""

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_GUESSED = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
"""Encodings that files are found in. Among all that Python knows, a short German text looks like Mac Turkish."""

_DECLARABLE = re.compile(r"(ascii|iso8859-\d+|cp\d+|koi8-[ru]|mac-\w+|shift_jis|euc_(jp|kr)|gb\w+|big5\w*|utf-(8|16))")
_CONTROL = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_UNUSABLE = re.compile(r"[\x00\ud800-\udfff]")


def decoded(content: bytes, declared: str = "") -> str:
    r"""The text of a file; line ends as they are, a byte order mark left out.

    Args:
        content: The file.
        declared: The encoding that the file itself names, if it does; used where UTF-8 does not fit.

    Raises:
        UnreadableError: It is binary, or in no encoding that is known.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return clean(content.decode(encoding, "replace"))
    if b"\0" in content[:_LOOKED_AT]:
        raise UnreadableError("binary")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        text = content.decode(_encoding(content, error.start, declared), "replace")
    if len(_CONTROL.findall(text, 0, _WINDOW)) > len(text[:_WINDOW]) // 100:
        raise UnreadableError("binary")
    if text.count("\ufffd") > len(text) // 100:
        raise UnreadableError("not text in an encoding that is known; save it as UTF-8")
    return clean(text)


def clean(text: str) -> str:
    """``text`` with NUL and lone surrogates as U+FFFD: databases refuse the one, tokenizers the other."""
    return _UNUSABLE.sub("\ufffd", text)


def _encoding(content: bytes, strange: int, declared: str) -> str:
    """The encoding of bytes that are no UTF-8 from offset ``strange`` on.

    Raises:
        UnreadableError: None fits.
    """
    try:
        name = codecs.lookup(declared).name if declared else ""
    except LookupError:
        name = ""
    if _DECLARABLE.fullmatch(name):
        return "cp1252" if name == "iso8859-1" else name  # what browsers do: the one is declared, the other meant
    # Around the first strange byte, since a prefix may be ASCII; from a line's begin, not from inside a character.
    begin = content.rfind(b"\n", 0, max(0, strange - _WINDOW // 2)) + 1
    if strange - begin > _WINDOW:
        begin = max(0, strange - _WINDOW // 2)
    window = content[begin : begin + _WINDOW]
    if _damaged_utf8(window):
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(window, cp_isolation=list(_GUESSED)).best()
    if best is None:
        raise UnreadableError("binary, or text in an encoding that is not known: save it as UTF-8")
    return str(best.encoding)


def _damaged_utf8(window: bytes) -> bool:
    """Whether more of the bytes beyond ASCII form UTF-8 characters than do not; other encodings seldom do by chance."""
    fitting = window.decode("utf-8", "ignore").encode()
    return sum(byte > 127 for byte in fitting) > len(window) - len(fitting)
