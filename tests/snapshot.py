"""Writes what is generated: contract snapshot, tables, pages, examples, packaged calibrations. ``make snapshot``."""

from calibration import write_calibrations
from mcp_server_embeddings.config import default_data_dir
from readme import PAGES, client_examples, with_tables
from server_json import SERVER_JSON, server_json
from test_contract import SNAPSHOT, listed
from tools_page import PAGE, page_server, with_answers

write_calibrations()
SNAPSHOT.parent.mkdir(exist_ok=True)
SNAPSHOT.write_text(listed(), encoding="utf-8")
for page in PAGES:
    page.write_text(with_tables(page), encoding="utf-8")
for example, content in client_examples().items():
    example.write_text(content, encoding="utf-8")
SERVER_JSON.write_text(server_json(), encoding="utf-8")
with page_server(default_data_dir()) as server:
    PAGE.write_text(with_answers(PAGE.read_text(encoding="utf-8"), server), encoding="utf-8")
    server.process.terminate()
