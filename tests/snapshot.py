"""Writes what is generated: the contract snapshot and the README's tables. ``make snapshot``."""

from readme import README, with_tables
from test_contract import SNAPSHOT, listed

SNAPSHOT.parent.mkdir(exist_ok=True)
SNAPSHOT.write_text(listed(), encoding="utf-8")
README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
