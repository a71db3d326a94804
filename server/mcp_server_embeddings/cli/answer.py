"""Print a tool's answer for a person: each list as a table, all other fields on one line."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mcp_server_embeddings.cli.output import console, safe, say, table
from mcp_server_embeddings.tools.results import ReadResult, Result

if TYPE_CHECKING:
    from rich.table import Table

_BAND_COLOURS = {"same": "green", "close": "green", "related": "yellow", "weak": "dim", "unrelated": "dim"}
"""Colours of bands."""

_FIRST_COLUMNS = ("id", "left", "right", "score", "band", "label")
"""Columns that come before all others."""

_WIDE_COLUMNS = ("text", "texts", "members", "hits")
"""Columns that get most of the terminal's width."""

_LONG = 40
"""Characters; a list with a longer text is printed with one entry per line."""


def say_answer(result: Result) -> None:
    """Print an answer: its text, its lists, its other fields, and its notes."""
    fields = {name: value for name, value in result.compact().items() if value not in ([], {}, None, "")}
    if isinstance(result, ReadResult):
        _print_items(result)
        fields.pop("items", None)
    text, no_match = fields.pop("text", ""), fields.pop("no_match", False)
    say(*str(text).splitlines())
    if no_match:
        say("nothing fits well; the nearest are:" if fields.get("hits") else "nothing found")
    lists = {name: fields.pop(name) for name in list(fields) if isinstance(fields[name], list | Mapping)}
    lists.pop("notes", None)
    for name, value in lists.items():
        _print_list(_title(name), value)
    say(", ".join(f"{_title(name)} {_cell(value)}" for name, value in fields.items()), *result.notes)


def _print_list(title: str, value: object) -> None:
    match value:
        case Mapping():
            console().print(_pairs(title, value))
        case [Mapping(), *_]:
            console().print(_rows("" if title == "hits" else title, [row for row in value if isinstance(row, Mapping)]))
        case [[float(), *_] as row, *_]:
            say(f"{title}: {len(value)} × {len(row)} numbers; --json prints them")
        case [[*_], *_]:
            say(f"{title}:", *(f"  {_cell(entry)}" for entry in value))
        case _:
            say(f"{title}: {_cell(value)}")


def _print_items(result: ReadResult) -> None:
    """Print the text of each item unchanged, below its id and location."""
    for item in result.items:
        place = f", lines {item.lines[0]} to {item.lines[1]}" if item.lines else ""
        place += f", page {item.page}" if item.page else ""
        say(f"{item.id}{place}:", *item.text.splitlines(), "")


def _title(name: str) -> str:
    return name.replace("_", " ")


def _pairs(title: str, fields: Mapping[str, object]) -> "Table":
    from rich.text import Text

    rows = table()
    rows.add_column(title, overflow="fold")
    rows.add_column("", overflow="fold", ratio=1)
    for name, value in fields.items():
        rows.add_row(Text(_title(safe(name))), Text(_cell(value)))
    return rows


def _rows(title: str, entries: Sequence[Mapping[str, object]]) -> "Table":
    from rich.text import Text

    entries = [_flatten_explanation(entry) for entry in entries]
    names = _order({name: None for entry in entries for name in entry})
    rows = table()
    rows.title, rows.title_justify, rows.title_style = title or None, "left", "bold"
    for name in names:
        rows.add_column(_title(name), overflow="fold", ratio=1 if name in _WIDE_COLUMNS else None)
    for entry in entries:
        cells = [_field(name, entry.get(name, "")) for name in names]
        rows.add_row(*(Text(cell, style=_BAND_COLOURS.get(cell, "")) for cell in cells))
    return rows


def _flatten_explanation(entry: Mapping[str, object]) -> dict[str, object]:
    """Return a hit with the numbers of its explanation as separate fields, before the others."""
    explanation = entry.get("explain")
    numbers = dict(explanation) if isinstance(explanation, Mapping) else {}
    return {**numbers, **{name: value for name, value in entry.items() if name != "explain"}}


def _order(names: Mapping[str, object]) -> list[str]:
    """Return field names with those in ``_FIRST_COLUMNS`` first."""
    return [name for name in _FIRST_COLUMNS if name in names] + [name for name in names if name not in _FIRST_COLUMNS]


def _field(name: str, value: object) -> str:
    """Format a field as a cell, a range of lines as ``3-5``."""
    return "-".join(map(str, value)) if name == "lines" and isinstance(value, list) else _cell(value)


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        if "id" in value:
            return " ".join(_field(name, value[name]) for name in _order(value))
        return "; ".join(f"{_title(str(name))}: {_cell(part)}" for name, part in value.items())
    if isinstance(value, list):
        multiline = any(isinstance(part, Mapping) or (isinstance(part, str) and len(part) > _LONG) for part in value)
        return ("\n" if multiline else ", ").join(map(_cell, value))
    return safe(" ".join(str(value).split()))
