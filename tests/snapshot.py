"""Writes what is generated: the contract snapshot, tables and pages, packaged calibrations. ``make snapshot``."""

from calibration import write_calibrations
from mcp_server_embeddings.config import default_data_dir
from readme import README, with_tables
from test_contract import SNAPSHOT, listed
from tools_page import PAGE, with_answers
from wire import ServerProcess

write_calibrations()
SNAPSHOT.parent.mkdir(exist_ok=True)
SNAPSHOT.write_text(listed(), encoding="utf-8")
README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
with ServerProcess(default_data_dir()) as server:
    server.handshake()
    PAGE.write_text(with_answers(PAGE.read_text(encoding="utf-8"), server, default_data_dir()), encoding="utf-8")
    server.process.terminate()
