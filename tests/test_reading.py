"""What becomes of the content of a file."""

import logging
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from files import encrypted_pdf, lying_about_size, pdf, pdf_of_stream, word, word_with
from mcp_server_embeddings.reading.document import Document, Parsing, UnreadableError
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import DEFAULT_LIMITS, ReadingLimits


def one(path: str, content: bytes | str) -> Document:
    (document,) = many(path, content)
    return document


def many(path: str, content: bytes | str) -> list[Document]:
    return read_documents(path, content.encode() if isinstance(content, str) else content)


def reason(path: str, content: bytes | str, limits: ReadingLimits = DEFAULT_LIMITS) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_documents(path, content.encode() if isinstance(content, str) else content, Parsing(limits))
    return caught.value.reason


def headings(document: Document) -> list[str]:
    return [section.heading for section in document.sections]


def cut(document: Document) -> list[str]:
    return [document.text[section.start : section.end] for section in document.sections]


# plain text and encodings


def test_plain_text_is_the_file_with_its_line_ends() -> None:
    text = "def f():\r\n    return 1\n\tend\r"
    document = one("a.py", text)
    assert document.text == text
    assert cut(document) == [text]
    assert document.suffix == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding_and_is_left_out(encoding: str) -> None:
    assert one("a.txt", "Größe 日本 🙂\r\nb".encode(encoding)).text == "Größe 日本 🙂\r\nb"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Die Größe des Käfigs überrascht ängstliche Vögel, schöne Grüße aus München."),
        ("cp1251", "Привет, как дела? Это обычный русский текст, записанный в старой кодировке."),
        ("shift_jis", "これは日本語の文章です。エンコーディングを推測できるはずです。"),
    ],
)
def test_text_in_an_old_encoding_is_guessed(encoding: str, text: str) -> None:
    assert one("a.txt", (text + "\n").encode(encoding) * 5).text == (text + "\n") * 5


def test_a_strange_byte_far_behind_in_ascii_is_guessed_from_its_surroundings() -> None:
    assert one("a.txt", b"plain words\n" * 50_000 + "Größe und Käse\n".encode("cp1252")).text.endswith("Käse\n")


def test_a_damaged_byte_in_utf8_costs_that_character_only() -> None:
    content = ("Größe " * 100).encode() + b"\xff" + b" end"
    assert one("a.txt", content).text == "Größe " * 100 + "\ufffd end"


def test_nul_after_the_first_bytes_and_lone_surrogates_become_replacement_characters() -> None:
    assert one("a.txt", b"a" * 10_000 + b"\0b").text.endswith("a\ufffdb")
    assert one("a.txt", b"\xff\xfea\0\x00\xd8b\0").text.isprintable()


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04\x14\0\0\0", bytes(range(1, 256)), b"\x01\x02\x03\x04" * 9],
)
def test_binary_files_are_refused(content: bytes) -> None:
    assert "binary" in reason("picture.dat", content)


def test_random_bytes_are_never_text() -> None:
    assert "binary" in reason("a.bin", random.Random(1).randbytes(100_000))


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.csv"])
def test_a_file_without_a_visible_character_has_no_text(name: str) -> None:
    assert "no " in reason(name, " \n\t\r\n")


def test_a_text_over_its_limit_is_refused_by_name_of_the_limit() -> None:
    said = reason("a.txt", "word " * 30, limits=ReadingLimits(characters=100))
    assert "150 characters" in said
    assert "at most 100" in said
    assert "split" in said


# Markdown


def test_markdown_is_cut_at_its_headings_and_stays_as_it_is() -> None:
    text = "intro\r\n\r\n# Install\r\ntext\r\n## Linux `apt`\r\nrun\r\n\r\nUse\r\n===\r\nend"
    document = one("a.md", text)
    assert document.text == text
    assert headings(document) == ["", "Install", "Install > Linux apt", "Use"]
    assert cut(document)[2:] == ["## Linux `apt`\r\nrun\r\n\r\n", "Use\r\n===\r\nend"]


def test_a_hash_in_a_code_fence_a_quote_or_a_list_is_no_heading() -> None:
    text = "# A\n\n```sh\n# comment\n```\n\n> # quoted\n\n- # item\n\n    # indented\n\n<!--\n# hidden\n-->\n"
    assert headings(one("a.markdown", text)) == ["A"]


def test_front_matter_is_no_heading() -> None:
    assert headings(one("a.mdx", "---\ntitle: x\ndate: y\n---\n# A\nb")) == ["", "A"]


def test_front_matter_of_carriage_returns_ends_in_time() -> None:
    assert one("a.md", "---\n" + "\r" * 5_000 + "x").text.endswith("x")


@given(st.lists(st.sampled_from(["# A", "## B", "text", "```", "> q", "- l", "", "===", "---", "\x0b", "\u2028 x"])))
@settings(max_examples=200)
def test_sections_ascend_and_hold_every_visible_character(lines: list[str]) -> None:
    for end in ("\n", "\r\n", "\r"):
        text = end.join(["x", *lines])
        document = one("a.md", text)
        assert document.text == text
        places = [place for section in document.sections for place in range(section.start, section.end)]
        assert places == sorted(set(places))
        left = set(range(len(text))) - set(places)
        assert all(text[place].isspace() for place in left)


# HTML


def test_html_is_its_visible_text_with_headings_and_title() -> None:
    document = one(
        "a.html",
        "<!doctype html><title>My &amp; page</title><style>p{}</style><script>var x = '<p>no';</script>"
        "<body><p>before   all<h1>Install</h1><p>Take <b>the</b> package.<br>Now.</p><noscript>no</noscript>"
        "<template><p>no</template><h2>Linux <i>only</i></h2><pre>a  b\n  c</pre>"
        "<table><tr><td>1<td>2<tr><td>3<td>4</table><!-- no -->",
    )
    assert document.text == ("before all\nInstall\nTake the package.\nNow.\nLinux only\na  b\n  c\n1 2\n3 4")
    assert headings(document) == ["", "Install", "Install > Linux only"]
    assert document.metadata == {"title": "My & page"}


def test_html_in_the_encoding_it_declares() -> None:
    page = '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>Да</p>'
    assert one("a.htm", page.encode("cp1251")).text == "Да"
    assert one("a.htm", '<meta charset="latin-1"><p>dash – é'.encode("cp1252")).text == "dash – é"


def test_an_encoding_that_is_none_is_not_believed() -> None:
    assert (
        one("a.htm", '<meta charset="punycode"><p>Die Größe der Vögel'.encode("cp1252")).text == "Die Größe der Vögel"
    )


def test_xhtml_loads_no_entity_and_no_dtd() -> None:
    page = '<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><html><body><p>&x; seen</p></body></html>'
    assert "root:" not in one("a.xhtml", page).text


def test_html_of_a_hundred_thousand_nested_elements_is_read() -> None:
    assert one("a.html", "<div>" * 100_000 + "deep" + "</div>" * 100_000 + "<p>after").text == "deep\nafter"


# PDF


def test_each_page_of_a_pdf_is_a_section() -> None:
    document = one("a.pdf", pdf("First page.", "", "Third page."))
    assert headings(document) == ["page 1", "page 3"]
    assert [text.strip() for text in cut(document)] == ["First page.", "Third page."]


def test_a_pdf_with_a_password_is_refused_and_with_an_empty_one_read() -> None:
    assert "encrypted" in reason("a.pdf", encrypted_pdf("secret"))
    assert "behind a password" in one("a.pdf", encrypted_pdf("")).text


def test_a_pdf_without_text_is_told_to_be_scanned() -> None:
    assert "OCR" in reason("a.pdf", pdf("", ""))


def test_a_pdf_that_is_none_is_refused() -> None:
    assert "not a PDF" in reason("a.pdf", b"hello")


def test_a_broken_pdf_is_refused_and_its_text_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        reason("a.pdf", b"%PDF-1.4\n1 0 obj\n<< /SECRET (words) /Pages 9 0 R >>\nstartxref\n7\n%%EOF")
        random_bytes = random.Random(0)
        whole = pdf("Some words.", "Some more words.")
        for _ in range(150):
            broken = bytearray(whole)
            for _ in range(8):
                broken[random_bytes.randrange(9, len(whole))] = random_bytes.randrange(256)
            try:
                many("a.pdf", bytes(broken))
            except UnreadableError as error:
                assert "words" not in error.reason  # noqa: PT017 - both outcomes are right
    assert "words" not in caplog.text
    assert "SECRET" not in caplog.text


def test_a_pdf_that_unpacks_without_end_is_refused() -> None:
    assert "unpacks or repeats without end at page 1" in reason("a.pdf", pdf_of_stream(b" " * 200_000_000))


def test_a_pdf_whose_pages_multiply_is_refused() -> None:
    extra = {n: b"<< /Type /Pages /Count 9 /Kids [%s] >>" % (b"%d 0 R " % (n + 1) * 10) for n in range(6, 30)}
    extra[2] = b"<< /Type /Pages /Count 9 /Kids [6 0 R] >>"
    extra[30] = b"<< /Type /Page >>"
    assert "repeats without end" in reason("a.pdf", pdf("x", extra=extra))


def test_a_pdf_that_takes_too_long_is_stopped() -> None:
    endless = pdf_of_stream(b"BT /F1 12 Tf " + b"(word) Tj " * 200_000 + b"ET")
    assert "longer than 0.2 s" in reason("a.pdf", endless, limits=ReadingLimits(pdf_seconds=0.2))


# DOCX


def test_a_docx_keeps_the_order_of_paragraphs_and_tables() -> None:
    document = one("a.docx", word())
    assert document.text == (
        "Before all.\nInstall\nTake the package.\nLinux\nRun apt.\nname\tsize\nsmall\t12\nAfter the table."
    )
    assert headings(document) == ["", "Install", "Install > Linux"]
    assert document.metadata == {"title": "Handbook"}


def body(inner: str, before: str = "") -> bytes:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    return f'{before}<w:document xmlns:w="{space}"><w:body>{inner}</w:body></w:document>'.encode()


def test_a_docx_has_text_of_content_controls_and_insertions_and_none_that_was_deleted() -> None:
    inner = (
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        "<w:p><w:ins><w:r><w:t>added</w:t><w:tab/><w:t>x</w:t></w:r></w:ins>"
        "<w:del><w:r><w:t>removed</w:t></w:r></w:del></w:p>"
    )
    assert one("a.docx", word_with("word/document.xml", body(inner))).text == "controlled\nadded\tx"


def test_a_docx_loads_no_entity() -> None:
    before = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    content = word_with("word/document.xml", body("<w:p><w:r><w:t>seen &e;</w:t></w:r></w:p>", before))
    assert one("a.docx", content).text.strip() == "seen"


def test_a_docx_whose_entities_multiply_is_refused_or_empty() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    before = f'<!DOCTYPE x [<!ENTITY e0 "boom">{entities}]>'
    content = word_with("word/document.xml", body("<w:p><w:r><w:t>&e11;</w:t></w:r></w:p>", before))
    assert reason("a.docx", content)


def test_a_zip_bomb_is_refused_by_what_it_declares() -> None:
    assert "at most 100,000,000" in reason("a.docx", word_with("word/media/picture.xml", b" " * 101_000_000))


@pytest.mark.slow
def test_a_zip_bomb_that_lies_about_its_size_is_refused() -> None:
    honest = word_with("word/document.xml", body("<w:p/>" + " " * 150_000_000))
    assert "not a DOCX" in reason("a.docx", lying_about_size(honest, "word/document.xml", 5_000))


def test_broken_docx_files_are_refused() -> None:
    assert "not a DOCX" in reason("a.docx", b"hello")
    whole, chance = word(), random.Random(0)
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(20):
            broken[chance.randrange(len(whole))] = chance.randrange(256)
        try:
            many("a.docx", bytes(broken))
        except UnreadableError as error:
            assert "save it again" in error.reason or "unpacks to" in error.reason  # noqa: PT017 - as above


def test_a_docx_of_deeply_nested_tables_is_refused_or_read() -> None:
    inner = "<w:tbl><w:tr><w:tc>" * 5_000 + "<w:p><w:r><w:t>x</w:t></w:r></w:p>" + "</w:tc></w:tr></w:tbl>" * 5_000
    assert "not a DOCX" in reason("a.docx", word_with("word/document.xml", body(inner)))


# CSV, TSV


def test_a_csv_row_is_a_document_of_all_its_columns() -> None:
    rows = many("a.csv", 'name,note,empty\r\nAda,"first, and\nlast",\r\n\r\nBob,x,y,z\r\n')
    assert [row.suffix for row in rows] == [":1", ":3"]
    assert rows[0].text == "name: Ada\nnote: first, and\nlast"
    assert rows[1].text == "name: Bob\nnote: x\nempty: y\ncolumn 4: z"


def test_a_tsv_is_cut_at_tabs_only() -> None:
    assert one("a.tsv", "a\tb\n1,2\t3\n").text == "a: 1,2\nb: 3"


def test_metadata_is_small() -> None:
    names = [f"c{n}" for n in range(30)]
    row = one("a.csv", ",".join([*names, "text"]) + "\n" + ",".join(["x" * 201, *["v"] * 29, "t"]) + "\n")
    assert len(row.metadata) == 20
    assert "c0" not in row.metadata


def test_a_csv_value_longer_than_csv_allows_by_itself_is_read() -> None:
    assert len(one("a.csv", "text\n" + "x" * 200_000 + "\n").text) == 200_006


def test_a_csv_of_too_many_rows_is_refused() -> None:
    assert "more than 10 rows" in reason("a.csv", "a\n" + "x\n" * 100, limits=ReadingLimits(rows=10))


# JSONL


def test_a_jsonl_line_is_a_document_named_by_its_line() -> None:
    lines = '{"text": "a", "n": 1, "ok": true, "x": NaN, "deep": {}}\n\n{"text": "\\ud800b\\u0000"}\n{"text": " "}\n'
    rows = many("a.jsonl", lines)
    assert [(row.suffix, row.text) for row in rows] == [(":1", "a"), (":3", "\ufffdb\ufffd")]
    assert rows[0].metadata == {"n": 1, "ok": True}


def test_content_or_body_are_taken_if_all_lines_have_them() -> None:
    assert one("a.ndjson", '{"content": "c", "body": "b"}').text == "c"


def test_lines_without_a_usual_key_are_rows_of_all_their_columns() -> None:
    rows = many("a.ndjson", '{"content": "c"}\n{"body": "b", "of": {"n": 3}}\n{"text": null}')
    assert [(row.suffix, row.text) for row in rows] == [(":1", "content: c"), (":2", "body: b\nof.n: 3")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ('{"text": "a"}\n[1]\n', "line 2 is not an object"),
        ("[" * 100_000, "line 1 is not JSON"),
        ('{"text": " "}', "no line has text in 'text'"),
        ('{"text": null}', "no row has text"),
    ],
)
def test_a_jsonl_file_that_cannot_be_read_says_why(lines: str, said: str) -> None:
    assert said in reason("a.jsonl", lines)


def test_reasons_hold_no_text_of_the_file() -> None:
    assert "SECRET" not in reason("a.jsonl", '{"text": SECRET}')
    assert not re.search("SECRET", reason("a.docx", b"SECRET"))
