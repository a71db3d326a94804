"""Tables as sources: columns with their types, texts with their ids, and errors that name the fix."""

import io
import json
import random
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bombs import parquet_of_forged_size
from files import lying_about_size
from mcp_server_embeddings.errors import CallCancelledError, InputError
from mcp_server_embeddings.reading.document import Parsing, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import TABLE_LIMITS, ReadingLimits
from mcp_server_embeddings.reading.parsing import parse_cells
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.reading.tables import TABLE_PARSING, Table, is_table, read_table, split_source

TICKETS = "id,subject,message,year\nT1,late,where is my parcel now,2020\nT2,card,the card was refused twice,2021\n"


def csv_table(text: str, name: str = "tickets.csv") -> Table:
    return read_table(name, text.encode())


def parquet(columns: dict[str, object]) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed)
    return packed.getvalue()


def sheet(rows: str, *, namespace: str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main") -> bytes:
    return f'<worksheet xmlns="{namespace}"><sheetData>{rows}</sheetData></worksheet>'.encode()


def xlsx(first: bytes, *, sheets: str = "", extra: dict[str, str] | None = None, strings: str = "") -> bytes:
    """An XLSX file written by hand; styles 1 to 3 show a date, an elapsed time and a date of a format of its own."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    relations = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    targets = {
        "r1": ("worksheet", "worksheets/sheet1.xml"),
        "r2": ("worksheet", "/xl/worksheets/sheet2.xml"),
        "r3": ("styles", "styles.xml"),
        "r4": ("sharedStrings", "sharedStrings.xml"),
        "r5": ("chartsheet", "chartsheets/sheet1.xml"),
    }
    listed = "".join(
        f'<Relationship Id="{identity}" Type="{kind}/{name}" Target="{target}"/>'
        for identity, (name, target) in targets.items()
    )
    sheets = sheets or '<sheet name="One" sheetId="1" r:id="r1"/>'
    parts = {
        "_rels/.rels": f'<Relationships {relations}><Relationship Id="a" Type="{kind}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{kind}"><workbookPr/><sheets>{sheets}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships {relations}>{listed}</Relationships>",
        "xl/styles.xml": f'<styleSheet {main}><numFmts><numFmt numFmtId="164" formatCode="&quot;d&quot;yyyy\\-mm"/>'
        '<numFmt numFmtId="165" formatCode="[hh]:mm:ss"/></numFmts><cellStyleXfs><xf numFmtId="14"/>'
        '</cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="165"/><xf numFmtId="164"/>'
        "</cellXfs></styleSheet>",
        "xl/sharedStrings.xml": f"<sst {main}>{strings}</sst>",
        **(extra or {}),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        archive.writestr("xl/worksheets/sheet1.xml", first)
    return packed.getvalue()


def cells(*values: str | float, row: int = 1) -> str:
    """A row of inline strings and numbers."""
    made = "".join(
        f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
        if isinstance(value, str)
        else f"<c><v>{value}</v></c>"
        for value in values
    )
    return f'<row r="{row}">{made}</row>'


def refused(name: str, content: bytes, limits: ReadingLimits = TABLE_LIMITS) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_table(name, content, Parsing(limits=limits))
    return caught.value.reason


# Columns


def test_a_csv_has_strings_and_what_they_stand_for() -> None:
    table = csv_table("id,n,share,zip,ok,mixed,text\n1,10,0.5,01234,true,3,a\n2,n/a,-1e3,99999,FALSE,x,\n")
    assert (table.columns, table.rows) == (("id", "n", "share", "zip", "ok", "mixed", "text"), 2)
    assert table.column("n") == ["10", "n/a"]
    assert table.typed("n") == [10, None]
    assert table.typed("share") == [0.5, -1000.0]
    assert table.typed("zip") == ["01234", "99999"]
    assert table.typed("ok") == [True, False]
    assert table.typed("mixed") == ["3", "x"]
    assert table.typed("text") == ["a", None]


@pytest.mark.parametrize("text", ["1" * 5_000, "1e999", "٣", "+49", "1_000", "0x1", "infinity"])
def test_what_only_resembles_a_number_stays_text(text: str) -> None:
    assert csv_table(f"a,b\n{text},x\n").typed("a") == [text]


def test_short_and_long_rows_of_a_csv_are_read() -> None:
    table = csv_table("a,b\n1\n1,2,3\n\n4,5\n\n\n")
    assert table.columns == ("a", "b", "column 3")
    assert table.column("column 3") == ["", "3", "", ""]
    assert table.column("a") == ["1", "1", "", "4"]


def test_columns_of_one_name_or_none_are_told_apart() -> None:
    table = csv_table("a,a,,a (2)\n1,2,3,4\n")
    assert table.columns == ("a", "a (2)", "column 3", "a (2) (2)")
    assert table.column("a (2)") == ["2"]


def test_the_delimiter_is_not_looked_for_in_quotes() -> None:
    assert csv_table('id,"a;b;c"\n1,2\n').columns == ("id", "a;b;c")


def test_a_csv_in_another_encoding_is_read() -> None:
    content = "id;Äußerung\n1;Übung macht den Meister, sagt man\n".encode("cp1252")
    assert read_table("a.csv", content).texts().texts == ["Übung macht den Meister, sagt man"]
    assert read_table("a.tsv", "id\ttext\n1\ta,b\n".encode("utf-16")).column("text") == ["a,b"]


def test_jsonl_keeps_types_and_reaches_into_objects() -> None:
    lines = [{"id": 1, "x": {"y": "deep"}, "ok": True}, {"id": 2.5, "tags": ["ä", 1], "x": None}]
    table = read_table("a.ndjson", "\n\n".join(map(json.dumps, lines)).encode())
    assert table.columns == ("id", "x.y", "ok", "tags", "x")
    assert table.column("id") == [1, 2.5]
    assert table.column("x.y") == ["deep", None]
    assert table.column("tags") == [None, '["ä", 1]']
    assert table.typed("ok") == [True, None]
    assert read_table("a.jsonl", b'{"zip": "123"}').typed("zip") == ["123"]


def test_parquet_keeps_types() -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    table = read_table(
        "a.parquet",
        parquet(
            {
                "n": pa.array([1, None], pa.uint64()),
                "f": pa.array([0.5, float("nan")]),
                "d": pa.array([Decimal("1.25"), None]),
                "day": pa.array([date(2024, 5, 6), None]),
                "at": pa.array([moment, None], pa.timestamp("ns", "UTC")),
                "clock": pa.array([time(1, 2), None]),
                "b": pa.array([b"caf\xc3\xa9", None]),
                "c": pa.array(["x", "x"]).dictionary_encode(),
                "l": pa.array([[1, 2], None]),
                "s.t": pa.array(["dotted", "a\0b"]),
                "s": pa.array([{"t": 1}, {"t": 2}]),
                "nothing": pa.nulls(2),
            }
        ),
    )
    values = {name: table.column(name) for name in table.columns}
    assert values == {
        "n": [1, None],
        "f": [0.5, None],
        "d": [1.25, None],
        "day": ["2024-05-06", None],
        "at": ["2024-05-06T07:08:09+00:00", None],
        "clock": ["01:02:00", None],
        "b": ["café", None],
        "c": ["x", "x"],
        "l": ["[1, 2]", None],
        "s.t": ["dotted", "a\ufffdb"],
        "s": ['{"t": 1}', '{"t": 2}'],
        "nothing": [None, None],
    }


def test_parquet_columns_of_one_name_are_told_apart() -> None:
    packed = io.BytesIO()
    pq.write_table(pa.table([pa.array([1]), pa.array(["x"])], names=["a", "a"]), packed)
    table = read_table("a.parquet", packed.getvalue())
    assert (table.column("a"), table.column("a (2)")) == ([1], ["x"])


def test_parquet_of_many_groups_is_read_in_order() -> None:
    packed = io.BytesIO()
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(1_000)]}), packed, row_group_size=70)
    assert read_table("a.parquet", packed.getvalue()).column("text") == [f"text {n}" for n in range(1_000)]


def test_xlsx_keeps_types() -> None:
    rows = (
        cells("id", "text", "when", "time", "span", "month", "ok", "shared", "error", "formula")
        + '<row r="2"><c r="Z2" s="1"/></row><row r="3"><c r="A3"><v>7</v></c>'
        '<c r="B3" t="inlineStr"><is><t>a_x000D_b</t></is></c>'
        '<c r="C3" s="1"><v>45418</v></c><c r="D3" s="1"><v>0.5</v></c><c r="E3" s="2"><v>1.5</v></c>'
        '<c r="F3" s="3"><v>45418.25</v></c><c r="G3" t="b"><v>1</v></c><c r="H3" t="s"><v>0</v></c>'
        '<c r="I3" t="e"><v>#N/A</v></c><c r="J3" t="str"><f>A1</f><v>seven</v></c></row><row r="4"/>'
    )
    shared = "<si><r><t>rich </t></r><r><t>text</t></r><rPh><t>kana</t></rPh></si>"
    table = read_table("a.xlsx", xlsx(sheet(rows), strings=shared))
    assert table.rows == 2
    assert [table.column(name)[1] for name in table.columns] == [
        *(7, "a\rb", "2024-05-06", "12:00:00", 1.5, "2024-05-06T06:00:00", True, "rich text", None, "seven")
    ]
    assert table.column("id")[0] is None
    assert table.texts("text").ids == ["7"]


def test_the_first_visible_sheet_is_read_and_the_others_are_named() -> None:
    listed = (
        '<sheet name="Chart" sheetId="5" r:id="r5"/><sheet name="Hidden" sheetId="1" state="hidden" r:id="r1"/>'
        '<sheet name="Data" sheetId="2" r:id="r2"/>'
    )
    second = {"xl/worksheets/sheet2.xml": sheet(cells("a") + cells("two", row=2)).decode()}
    table = read_table("a.xlsx", xlsx(sheet(cells("a") + cells("one", row=2)), sheets=listed, extra=second))
    assert table.column("a") == ["two"]
    assert table.notes == ("only the sheet 'Data' was read; the others: 'Hidden'",)


def test_xlsx_dates_can_begin_in_1904() -> None:
    book = (
        '<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
        '<workbookPr date1904="1"/><sheets><sheet name="One" r:id="r1"/></sheets></workbook>'
    )
    rows = cells("a") + '<row r="2"><c s="1"><v>1</v></c></row>'
    assert read_table("a.xlsx", xlsx(sheet(rows), extra={"xl/workbook.xml": book})).column("a") == ["1904-01-02"]
    assert read_table("a.xlsx", xlsx(sheet(rows))).column("a") == ["1900-01-01"]


def test_formulas_without_a_value_are_noted_and_merged_cells_are_blank() -> None:
    rows = cells("a", "b") + '<row r="2"><c r="A2"><f>1+1</f></c><c r="B2"><v>1</v></c></row>'
    table = read_table("a.xlsx", xlsx(sheet(rows)))
    assert table.column("a") == [None]
    assert table.notes == ("1 formulas have no stored value; save the file with a spreadsheet program",)


def test_xlsx_of_the_strict_standard_is_read() -> None:
    strict = "http://purl.oclc.org/ooxml/spreadsheetml/main"
    content = xlsx(sheet(cells("a") + cells("x", row=2), namespace=strict))
    assert read_table("A.XLSX", content).column("a") == ["x"]


# Texts and ids


def test_the_only_column_of_text_is_taken_with_the_ids_beside_it() -> None:
    texts = csv_table(TICKETS).texts()
    assert (texts.column, texts.ids, texts.rows, texts.blank) == ("message", ["T1", "T2"], [0, 1], 0)
    assert texts.texts == ["where is my parcel now", "the card was refused twice"]


def test_several_columns_of_text_are_listed_longest_first() -> None:
    table = csv_table("Key,title,abstract\n1,A short title here,And a much longer abstract of it\n")
    assert table.text_columns() == ["abstract", "title"]
    with pytest.raises(InputError) as caught:
        table.texts()
    assert str(caught.value) == (
        "'tickets.csv' has 2 columns that hold text; name one, such as 'tickets.csv#abstract'; its columns: 'Key', "
        "'title', 'abstract'"
    )


def test_labels_names_dates_and_links_are_no_texts() -> None:
    rows = [
        f"{n},Ada Lovelace,card payment was declined,2024-05-06,https://example.org/a/b/{n},text number {n} is this"
        for n in range(50)
    ]
    table = csv_table("\n".join(["id,name,label,day,link,words", *rows]))
    assert table.text_columns() == ["words"]


def test_short_strings_are_texts_where_there_is_no_longer_one() -> None:
    assert csv_table("id,name,group\n1,apple,a\n2,pear,a\n3,fig,a\n").text_column() == "name"
    assert csv_table("id,問い\n1,支払いが二重に請求されました\n").text_columns() == ["問い"]


def test_a_table_without_text_lists_its_columns() -> None:
    with pytest.raises(InputError, match=r"no column that looks like text; name one, such as 'tickets.csv#a'"):
        csv_table("a,b\n1,2\n").texts()


def test_an_unknown_column_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as caught:
        csv_table(TICKETS).texts("mesage")
    assert str(caught.value) == (
        "'tickets.csv' has no column 'mesage'; did you mean 'message'? Its columns: 'id', 'subject', 'message', 'year'"
    )
    with pytest.raises(InputError, match="has no column 'number'; its columns: 'id', 'subject', 'message', 'year'"):
        csv_table(TICKETS).texts("message", "number")


def test_letter_case_of_a_column_matters_only_where_two_differ_by_it() -> None:
    assert csv_table(TICKETS).text_column("Message") == "message"
    table = csv_table("a,A\n1,2\n")
    assert (table.column("a"), table.column("A")) == (["1"], ["2"])


def test_blank_texts_are_left_out_and_counted_and_rows_keep_their_numbers() -> None:
    texts = csv_table("n,text\n7,one\n8, \n\n9,two\n").texts("text")
    assert (texts.ids, texts.texts, texts.rows, texts.blank) == (["1", "4"], ["one", "two"], [0, 3], 2)


def test_ids_are_those_of_a_column_called_id_in_any_case_or_of_the_one_named() -> None:
    table = csv_table("ID,n,text\n a ,3,x\nb,4,y\n")
    assert table.ids() == ["a", "b"]
    assert table.ids("n") == ["3", "4"]
    assert table.ids("row") == ["1", "2"]
    assert read_table("a.jsonl", b'{"id": 3.0, "text": "x"}').ids() == ["3"]


def test_repeated_and_blank_ids_are_refused_with_their_rows_and_the_fix() -> None:
    with pytest.raises(InputError) as caught:
        csv_table("id,n,text\n1,a,x\n2,b,y\n1,c,z\n,d,x\n,e, \n").texts("text")
    assert str(caught.value) == (
        "column 'id' of 'tickets.csv' cannot give the ids, which must be unique and not blank: it has the value '1' in "
        "rows 1, 3; no value in row 4; correct the file, or pass id_field='n' or id_field='row' to number the rows"
    )
    assert csv_table("id,text\n1,x\n1,\n").texts("text").ids == ["1"]


def test_a_table_whose_texts_are_all_blank_is_refused() -> None:
    with pytest.raises(UnreadableError, match="no row has text in column 'text'"):
        csv_table("id,text\n1, \n").texts("text")


# Sources


@pytest.mark.parametrize(
    ("source", "split"),
    [
        ("tickets.csv#message", ("tickets.csv", "message")),
        ("tickets.csv", ("tickets.csv", None)),
        ("tickets.csv#", ("tickets.csv", None)),
        ("a#b/c#.TSV## of items", ("a#b/c#.TSV", "# of items")),
        ("notes#1.md", ("notes#1.md", None)),
        ("c#/readme", ("c#/readme", None)),
        ("data/*.parquet# text ", ("data/*.parquet", "text")),
        ("x#.csv", ("x#.csv", None)),
    ],
)
def test_a_source_is_split_behind_the_name_of_a_table(source: str, split: tuple[str, str | None]) -> None:
    assert split_source(source) == split


def test_a_table_whose_name_has_a_sign_of_a_column_is_found_if_it_exists() -> None:
    exists = {"a.csv#1.csv"}.__contains__
    assert split_source("a.csv#1.csv", exists) == ("a.csv#1.csv", None)
    assert split_source("a.csv#1.csv#text", exists) == ("a.csv#1.csv", "text")
    assert is_table("x.NDJSON")
    assert not is_table("x.xls")


def test_a_table_is_read_through_the_allowed_folders(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TICKETS, encoding="utf-8")
    (entry,) = Reader([tmp_path], limits=TABLE_LIMITS).select(["a.csv"]).entries
    assert isinstance(entry, FoundFile)
    assert entry.table(entry.read()).texts().ids == ["T1", "T2"]


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet"])
def test_rows_of_packed_tables_are_documents_too(name: str) -> None:
    content = {
        "a.xlsx": xlsx(sheet(cells("n", "text") + cells(3, "hello", row=2))),
        "a.parquet": parquet({"n": [3], "text": ["hello"]}),
    }[name]
    (row,) = read_documents(name, content)
    assert (row.suffix, row.text, row.metadata) == (":1", "n: 3\ntext: hello", {"n": 3, "text": "hello"})


# Hostile files


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "an empty table"),
        ("a.csv", b"a,b\n\n", "no rows below"),
        ("a.csv", b'a,b\n1,2\n3,"x\n5,6\n', "a quoted value in the row that begins at line 3 never ends"),
        ("a.csv", b"\0\1\2", "binary"),
        ("a.csv", b"a," * 10_001 + b"\nx", "a row of 10,002 columns; at most 10,000"),
        ("a.tsv", b"a\n" + b"\t" * 10_001, "a row of 10,002 columns"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", json.dumps({f"k{n}": 1 for n in range(10_001)}).encode(), "a row of 10,001 columns"),
        ("a.parquet", b"PAR1 no PAR1", "not a Parquet file, or a corrupt one"),
        ("a.xlsx", b"PK no", "not an XLSX file, or a corrupt one (BadZipFile)"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0" * 200, "encrypted, or an old .xls"),
        ("a.xlsx", xlsx(b"<worksheet><sheetData><row>"), "corrupt one (XMLSyntaxError)"),
        ("a.xlsx", xlsx(sheet("")), "an empty table"),
        ("a.xlsx", xlsx(sheet('<row r="5"/><row r="2"/>')), "corrupt one (ValueError)"),
        ("a.xlsx", xlsx(sheet('<row><c r="XFE1"><v>1</v></c></row>')), "corrupt one (ValueError)"),
        ("a.xlsx", xlsx(sheet('<row><c t="s"><v>5</v></c></row>')), "corrupt one (IndexError)"),
        ("a.xlsx", xlsx(sheet('<row><c r="XFD1"><v>1</v></c></row>')), "a row of 16,384 columns"),
        ("a.xlsx", xlsx(sheet(""), sheets='<sheet name="C" r:id="r5"/>'), "without a sheet of cells"),
        ("a.xlsx", xlsx(sheet("<row>" + "<c/>" * 300_000 + "</row>")), "a row of 300,000 columns"),
        ("a.xls", b"x", "not a table; allowed: .csv, .tsv"),
    ],
    ids=range(21),
)
def test_what_is_no_table_is_refused_with_a_reason(name: str, content: bytes, said: str) -> None:
    assert said in refused(name, content)


def test_a_cell_in_the_last_row_does_not_fill_the_memory() -> None:
    content = xlsx(sheet(cells("a") + '<row r="1048576"><c r="A1048576"><v>1</v></c></row>'))
    assert "more than 1,000,000 rows" in refused("a.xlsx", content)
    corners = '<row r="{0}"><c r="NTP{0}"><v>1</v></c></row>'
    far = xlsx(sheet(cells("a") + corners.format(900_000)))
    assert "more than 50,000,000 cells" in refused("a.xlsx", far)
    many = xlsx(sheet("".join(corners.format(row) for row in range(1, 5_002))))
    assert "more than 50,000,000 cells" in refused("a.xlsx", many)


def test_entities_of_xlsx_are_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    rows = cells("a") + '<row r="2"><c t="inlineStr"><is><t>x&b;</t></is></c></row>'
    assert read_table("a.xlsx", xlsx(bomb.encode() + sheet(rows))).column("a") == ["x"]


def test_a_zip_that_lies_about_a_size_is_refused() -> None:
    content = xlsx(sheet(cells("a") + "".join(cells("x" * 50, row=row) for row in range(2, 3_000))))
    assert "corrupt" in refused("a.xlsx", lying_about_size(content, "xl/worksheets/sheet1.xml", 10_000))


def test_wide_and_long_tables_together_are_refused() -> None:
    header = ",".join(f"c{n}" for n in range(9_000))
    assert "more than 50,000,000 cells" in refused("a.csv", (header + "\n" + "x\n" * 6_000).encode())
    sparse = "\n".join(json.dumps({f"k{n}": 1}) for n in range(8_000)).encode()
    assert "more than 50,000,000 cells" in refused("a.jsonl", sparse)


def test_a_column_of_parquet_that_unpacks_to_more_than_it_declares_is_refused() -> None:
    small = ReadingLimits(unpacked_bytes=1_000_000)
    table = read_table("a.parquet", parquet_of_forged_size(5), Parsing(limits=small))
    with pytest.raises(UnreadableError, match="at most 1,000,000"):
        table.column("a")


def test_a_column_of_parquet_that_unpacks_too_far_is_refused() -> None:
    small = ReadingLimits(unpacked_bytes=100_000)
    plain = io.BytesIO()
    pq.write_table(pa.table({"a": ["x" * 1_000] * 1_000, "b": [1] * 1_000}), plain, use_dictionary=False)
    table = read_table("a.parquet", plain.getvalue(), Parsing(limits=small))
    assert table.column("b") == [1] * 1_000
    with pytest.raises(UnreadableError, match="unpacks to 1,00"):
        table.column("a")


@pytest.mark.slow
def test_a_long_text_that_all_rows_share_is_kept_once_and_refused_as_texts() -> None:
    content = parquet({"a": pa.array(["x" * 100_000] * 10_000).dictionary_encode()})
    table = read_table("a.parquet", content)
    assert len(set(map(id, table.column("a")))) == 1
    with pytest.raises(UnreadableError, match="1,000,000,000 characters of text; at most 500,000,000"):
        table.texts("a")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"a\n" + b"x\n" * 11),
        ("a.jsonl", b'{"a": 1}\n' * 11),
        ("a.parquet", parquet({"a": list(range(11))})),
        ("a.xlsx", xlsx(sheet("".join(cells("x", row=row) for row in range(1, 13))))),
    ],
)
def test_rows_are_limited_in_every_format_and_reading_can_be_cancelled(name: str, content: bytes) -> None:
    assert "more than 10 rows" in refused(name, content, ReadingLimits(rows=10))
    assert read_table(name, content).rows == 11

    def cancel() -> None:
        raise CallCancelledError("cancelled")

    with pytest.raises(CallCancelledError):
        read_table(name, content, Parsing(cancelled=cancel)).column("a")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.xlsx"])
def test_the_time_of_a_table_is_limited(name: str) -> None:
    content: dict[str, Callable[[], bytes]] = {
        "a.csv": lambda: b"a\n" + b"x\n" * 90_000,
        "a.jsonl": lambda: b'{"a": 1}\n' * 90_000,
        "a.xlsx": lambda: xlsx(sheet("".join(cells(row, row=row) for row in range(1, 20_000)))),
    }
    assert "takes longer than 0.01 s" in refused(name, content[name](), ReadingLimits(seconds=0.01))


def test_reasons_hold_no_text_of_the_table() -> None:
    assert "SECRET" not in refused("a.csv", b'a\n"SECRET')
    assert "SECRET" not in refused("a.jsonl", b'{"a": SECRET}')


def test_broken_bytes_of_packed_tables_are_read_or_refused() -> None:
    chance = random.Random(7)
    whole = {
        "a.xlsx": xlsx(sheet(cells("a", "b") + cells("x", 1, row=2))),
        "a.parquet": parquet({"a": ["x", "y"] * 50, "b": list(range(100))}),
    }
    for name, content in whole.items():
        for _ in range(150):
            broken = bytearray(content)
            for _ in range(5):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            try:
                table = read_table(name, bytes(broken))
                for column in table.columns:
                    table.column(column)
            except UnreadableError as error:
                assert error.reason  # noqa: PT017 - either outcome is right


def test_without_pyarrow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnreadableError, match=r"pip install 'mcp-server-embeddings\[parquet\]'"):
        parse_cells(".parquet", b"PAR1", TABLE_PARSING)
