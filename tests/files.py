"""Sample files for the tests of reading."""

import functools
import io
import struct
import zipfile
import zlib
from pathlib import Path

import docx
from pypdf import PdfReader, PdfWriter

from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.selecting import Reader, Selection


def pdf(*pages: str, extra: dict[int, bytes] | None = None) -> bytes:
    """Return a PDF with one line of text on each page. ``extra`` replaces or adds objects by number."""
    count = len(pages)
    objects: dict[int, bytes] = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%s] /Count %d >>"
        % (b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(count)), count),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for i, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1") if text else b""
        objects[4 + 2 * i] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * i)
        )
        objects[5 + 2 * i] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream)
    return _pdf(objects | (extra or {}))


def pdf_of_stream(stream: bytes) -> bytes:
    """Return a PDF of one page that draws a compressed stream."""
    packed = zlib.compress(stream, 9)
    return pdf("x", extra={5: b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(packed), packed)})


def _pdf(objects: dict[int, bytes]) -> bytes:
    content = b"%PDF-1.4\n"
    offsets: list[int] = []
    for number in sorted(objects):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, objects[number])
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        content
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(offsets) + 1, table)
        + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(offsets) + 1, len(content))
    )


def encrypted_pdf(password: str) -> bytes:
    """Return an encrypted PDF; with an empty password anyone can open it."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("behind a password"))))
    writer.encrypt(password, owner_password="owner", algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


@functools.cache
def word() -> bytes:
    """Return a DOCX with a title, headings, paragraphs and a table."""
    document = docx.Document()
    document.core_properties.title = "Handbook"
    document.add_paragraph("Before all.")
    document.add_heading("Install", 1)
    document.add_paragraph("Take the package.")
    document.add_heading("Linux", 2)
    document.add_paragraph("Run apt.")
    table = document.add_table(2, 2)
    for place, text in enumerate(("name", "size", "small", "12")):
        table.cell(place // 2, place % 2).text = text
    document.add_paragraph("After the table.")
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word_with(part: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the DOCX of ``word`` with one part replaced or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word())) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            if name != part:
                target.writestr(name, source.read(name))
        target.writestr(part, content, method)
    return buffer.getvalue()


def lying_about_size(archive: bytes, part: str, size: int) -> bytes:
    """Return the archive with another unpacked size of one part declared in its central directory."""
    name = part.encode()
    at = archive.rindex(b"PK\x01\x02", 0, archive.rindex(name))
    return archive[: at + 24] + struct.pack("<L", size) + archive[at + 28 :]


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write files below a folder; return the folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def found(selection: Selection, root: Path) -> list[str]:
    """Return the paths of the selected files, relative to ``root``."""
    return [Path(e.path).relative_to(root).as_posix() for e in selection.entries if isinstance(e, FoundFile)]


def skipped(selection: Selection, root: Path) -> dict[str, str]:
    """Return the reason for each skipped file, by its path relative to ``root``."""
    return {Path(e.path).relative_to(root).as_posix(): e.reason for e in selection.entries if isinstance(e, Skipped)}


def names(root: Path, *paths: str) -> list[str]:
    """Return the paths of the files that a reader of one folder selects, relative to the folder."""
    return found(Reader([root]).select(paths or [str(root)]), root)
