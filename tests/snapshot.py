"""Writes the contract snapshot anew: ``make snapshot``."""

from test_contract import SNAPSHOT, listed

SNAPSHOT.parent.mkdir(exist_ok=True)
SNAPSHOT.write_text(listed(), encoding="utf-8")
