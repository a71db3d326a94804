"""Write all generated files: contract snapshot, tables, pages, examples, calibrations. ``make snapshot`` runs this."""

from pathlib import Path
from tempfile import TemporaryDirectory

from calibration import write_calibrations
from mcp_server_embeddings.config import default_data_dir
from readme import PAGES, client_examples, with_tables
from recording import RECORDING, drawn, session
from reference import REFERENCE
from server_json import SERVER_JSON, server_json
from site_pages import DOCS
from snippets import PageRun, equal_up_to_rounding, prepared
from test_contract import SNAPSHOT, listed
from tools_page import PAGE, page_server, with_answers

write_calibrations()
SNAPSHOT.parent.mkdir(exist_ok=True)
SNAPSHOT.write_text(listed(), encoding="utf-8")
for page in PAGES:
    page.write_text(with_tables(page), encoding="utf-8")
for page, make_page in REFERENCE.items():
    page.write_text(make_page(), encoding="utf-8")
for example, content in client_examples().items():
    example.write_text(content, encoding="utf-8")
SERVER_JSON.write_text(server_json(), encoding="utf-8")
with page_server(default_data_dir()) as server:
    PAGE.write_text(with_answers(PAGE.read_text(encoding="utf-8"), server), encoding="utf-8")
    server.process.terminate()
for page in sorted(DOCS.rglob("*.md")):
    with TemporaryDirectory() as folder, prepared(Path(folder)):
        text = PageRun(page, Path(folder)).written()
    if not equal_up_to_rounding(text, page.read_text(encoding="utf-8")):
        page.write_text(text, encoding="utf-8")
RECORDING.write_text(drawn(session()), encoding="utf-8")
