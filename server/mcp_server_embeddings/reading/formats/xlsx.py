"""XLSX: the first visible sheet as a table.

The sheet's XML is read row by row. python-calamine stores a sheet as the bounding rectangle of its cells, so a file of
two kilobytes with a cell in the last column of the last row allocates 500 GB and ends the process (tafia/calamine issue
693); openpyxl takes eight times as long and has had no release since 2024.
"""

import io
import math
import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lxml import etree  # type: ignore[import-untyped]

from mcp_server_embeddings.reading.cells import Cell, Cells, is_blank, of_rows
from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.reading.document import Parsing, UnreadableError, formatted_names
from mcp_server_embeddings.reading.formats.packed import check_packed

_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0"
_BLOCK = 65_536
_LAST_COLUMN = 16_384
_LAST_SERIAL = 2_958_466
"""The day after 9999-12-31."""

_DATE_FORMATS = frozenset(map(str, (*range(14, 23), *range(27, 37), 45, 47, *range(50, 59))))
"""Built-in number formats that show dates or times (ECMA-376 part 1, 18.8.30); 46 is an elapsed time."""

_NOT_A_DATE_PART = re.compile(r'"[^"]*"|\\.|\[[^\[\]]*\]')
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_DATE_PART = re.compile("[dmyhs]", re.IGNORECASE)
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_MAX_CODE = 255


def xlsx_cells(content: bytes, parsing: Parsing) -> Cells:
    """Read the first visible sheet; its first non-blank row names the columns.

    Numbers, booleans and strings keep their type, dates and times become ISO 8601 strings, errors such as ``#N/A``
    become None. A formula has its stored value. The first of merged cells has their value.

    Raises:
        UnreadableError: It is encrypted or too large.
    """
    if content.startswith(_OLE_SIGNATURE):
        raise UnreadableError("encrypted, or an old .xls; save it again as .xlsx")
    check_packed(content, parsing)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rows, notes = _read_first_sheet(_Package(archive, parsing))
    header_index = next((at for at, row in enumerate(rows) if not is_blank(row)), len(rows))
    return of_rows(rows[header_index] if rows[header_index:] else [], rows[header_index + 1 :], None, notes, typed=True)


@dataclass(frozen=True, slots=True)
class _Package:
    archive: zipfile.ZipFile
    parsing: Parsing

    def elements(self, part: str, *tags: str, last: str = "") -> Iterator[etree._Element]:
        """Yield the elements of a part with given tags, each complete and valid until the next is requested.

        Args:
            part: Path in the archive.
            tags: Tags without namespace.
            last: Stop at the end of the first element with this tag.
        """
        wanted = [f"{{*}}{tag}" for tag in (*tags, last) if tag]
        parser = etree.XMLPullParser(
            ("end",), tag=wanted, resolve_entities=False, no_network=True, remove_comments=True
        )
        with self.archive.open(part) as file:
            while block := file.read(_BLOCK):
                parser.feed(block)
                for _, element in parser.read_events():
                    if _local_name(element) == last:
                        return
                    yield element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
        parser.close()

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Map the ids of a part's relationships to their type and target."""
        folder, name = posixpath.split(part)
        return {
            relation.get("Id"): (
                posixpath.basename(relation.get("Type")),
                posixpath.normpath(posixpath.join("/", folder, relation.get("Target"))).lstrip("/"),
            )
            for relation in self.elements(posixpath.join(folder, "_rels", f"{name}.rels"), "Relationship")
        }


def _read_first_sheet(package: _Package) -> tuple[list[list[Cell]], tuple[str, ...]]:
    """Read the first visible sheet; return its rows and notes."""
    workbook = next(target for kind, target in package.relations("").values() if kind == "officeDocument")
    relations = package.relations(workbook)
    parts = dict(relations.values())
    epoch, sheets = _sheets(package, workbook, relations)
    first = next((sheet for sheet in sheets if sheet.visible), sheets[0])
    strings = _shared_strings(package, parts["sharedStrings"]) if "sharedStrings" in parts else []
    dates = _date_styles(package, parts["styles"]) if "styles" in parts else frozenset()
    sheet = _Sheet(package.parsing, strings, dates, epoch)
    for row in package.elements(first.part, "row", last="sheetData"):
        sheet.add(row)
    notes = []
    if len(sheets) > 1:
        others = [other.name for other in sheets if other is not first]
        notes.append(f"only the sheet {first.name!r} was read; the others: {formatted_names(others)}")
    if sheet.unevaluated:
        notes.append(f"{sheet.unevaluated:,} formulas have no stored value; save the file with a spreadsheet program")
    return sheet.rows, tuple(notes)


@dataclass(frozen=True, slots=True)
class _SheetEntry:
    name: str
    part: str
    visible: bool


def _sheets(
    package: _Package, workbook: str, relations: Mapping[str, tuple[str, str]]
) -> tuple[datetime, list[_SheetEntry]]:
    """Return day 0 of the dates, and the worksheets."""
    epoch = datetime(1899, 12, 30)  # noqa: DTZ001 - cells have no time zone
    sheets: list[_SheetEntry] = []
    for element in package.elements(workbook, "workbookPr", "sheet", last="sheets"):
        if _local_name(element) == "workbookPr":
            if element.get("date1904") in {"1", "true"}:
                epoch = datetime(1904, 1, 1)  # noqa: DTZ001
        elif target := _worksheet_part(element, relations):
            sheets.append(
                _SheetEntry(clean(element.get("name", "")), target, element.get("state", "visible") == "visible")
            )
            package.parsing.check_columns(len(sheets))
    if not sheets:
        raise UnreadableError("a workbook without a sheet of cells")
    return epoch, sheets


class _Sheet:
    """Collects the rows of a sheet, each up to its last cell.

    Attributes:
        rows: The rows.
        unevaluated: Number of formulas without a stored value.
    """

    def __init__(self, parsing: Parsing, strings: list[str], dates: frozenset[str], epoch: datetime) -> None:
        self.rows: list[list[Cell]] = []
        self.unevaluated = 0
        self._parsing, self._strings, self._dates, self._epoch = parsing, strings, dates, epoch
        self._indices: dict[str, int] = {}
        self._cells = 0

    def add(self, row: etree._Element) -> None:
        """Add a row, preceded by blank rows for those missing from the sheet.

        Raises:
            UnreadableError: The table is too large.
            ValueError: It is malformed.
        """
        number = int(row.get("r") or len(self.rows) + 1)
        if number <= len(self.rows):
            raise ValueError("rows out of order")
        self._parsing.check_rows(number - 1)  # the header does not count
        cells: list[Cell] = []
        for cell in row:
            value, reference = self._value(cell), cell.get("r")
            index = self._index(reference) if reference else len(cells)
            if value is None and reference:
                continue
            if index >= len(cells):
                cells += [None] * (index + 1 - len(cells))
            cells[index] = value
        self._parsing.check_columns(len(cells))
        self._cells += len(cells)
        self._parsing.check_cells(self._cells)
        self.rows += [[] for _ in range(number - 1 - len(self.rows))]
        self.rows.append(cells)

    def _index(self, reference: str) -> int:
        letters = reference.rstrip("0123456789")
        if letters not in self._indices:
            index = 0
            for letter in letters[:4]:
                index = index * 26 + ord(letter) - ord("A") + 1
            if not (1 <= index <= _LAST_COLUMN and letters.isalpha() and letters.isupper()):
                raise ValueError("no such column")
            self._indices[letters] = index - 1
        return self._indices[letters]

    def _value(self, cell: etree._Element) -> Cell:
        text, formula = None, False
        for child in cell:
            tag = child.tag
            if tag.endswith("}v"):
                text = child.text
            elif tag.endswith("}is"):
                text = _rich_text(child)
            else:
                formula = formula or tag.endswith("}f")
        if text is None:
            self.unevaluated += formula
            return None
        kind = cell.get("t", "n")
        if kind == "n":
            return self._number(text, cell.get("s"))
        return self._strings[int(text)] if kind == "s" else _typed_value(text, kind)

    def _number(self, text: str, style: str | None) -> Cell:
        number = float(text)
        if style in self._dates and 0 <= number < _LAST_SERIAL:
            return _iso_date(number, self._epoch)
        if not math.isfinite(number):
            return None
        return int(number) if number.is_integer() and abs(number) < 1 << 53 else number


def _typed_value(text: str, kind: str) -> Cell:
    match kind:
        case "b":
            return text.strip() == "1"
        case "e":
            return None
        case _:
            return _unescape(text)


def _local_name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _worksheet_part(sheet: etree._Element, relations: Mapping[str, tuple[str, str]]) -> str:
    """Return the part of a worksheet; ``""`` for a sheet of charts or macros."""
    relation = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")
    kind, target = relations.get(relation, ("", ""))
    return target if kind == "worksheet" else ""


def _shared_strings(package: _Package, part: str) -> list[str]:
    strings: list[str] = []
    for item in package.elements(part, "si", last="sst"):
        strings.append(_unescape(_rich_text(item)))
        package.parsing.check_cells(len(strings))
    return strings


def _rich_text(item: etree._Element) -> str:
    """Join the runs of a string, without phonetic runs."""
    if len(item) == 1 and item[0].tag.endswith("}t"):  # the usual case
        return item[0].text or ""
    texts = []
    for child in item:
        local = _local_name(child)
        if local == "t":
            texts.append(child.text or "")
        elif local == "r":
            texts += [text.text or "" for text in child if _local_name(text) == "t"]
    return "".join(texts)


def _date_styles(package: _Package, part: str) -> frozenset[str]:
    """Return the indices of the cell styles whose number format shows dates or times."""
    codes: dict[str, str] = {}
    dates: set[str] = set()
    count = 0
    for element in package.elements(part, "numFmt", "xf", last="cellXfs"):
        number_format = element.get("numFmtId", "0")
        if _local_name(element) == "numFmt":
            codes[number_format] = element.get("formatCode", "")[:_MAX_CODE]
        elif _local_name(element.getparent()) == "cellXfs":
            if _shows_date(codes[number_format]) if number_format in codes else number_format in _DATE_FORMATS:
                dates.add(str(count))
            count += 1
    return frozenset(dates)


def _shows_date(code: str) -> bool:
    return code != "General" and not _ELAPSED.search(code) and bool(_DATE_PART.search(_NOT_A_DATE_PART.sub("", code)))


def _iso_date(serial: float, epoch: datetime) -> str:
    """Convert a number of days to a date, a time of day (below 1) or both, rounded to the second."""
    # Excel's 1900 has a 29 February, so earlier days are off by one.
    days = serial + (1 <= serial < 60 and epoch.year < 1904)
    moment = epoch + timedelta(seconds=round(days * 86_400))
    if serial < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if serial.is_integer() else moment.isoformat()


def _unescape(text: str) -> str:
    if "_x" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return clean(text)
