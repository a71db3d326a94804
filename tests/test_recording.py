"""The recorded session of the README is what the commands print."""

import html
import re

import pytest

from recording import COMMANDS, RECORDING, drawn, session
from site_pages import ROOT
from snippets import without_numbers

pytestmark = pytest.mark.usefixtures("warm_commands")


def shown(picture: str) -> str:
    """The words of the picture, line by line."""
    found = re.findall(r"<text[^>]*>(.*?)</text>", picture, re.DOTALL)
    return without_numbers("\n".join(html.unescape(text).replace("\xa0", " ").rstrip() for text in found))


def test_the_session_is_what_the_commands_print_now() -> None:
    picture = RECORDING.read_text(encoding="utf-8")
    assert shown(picture) == shown(drawn(session()))
    assert all(command.split(" --")[0] in html.unescape(picture).replace("\xa0", " ") for command in COMMANDS)


def test_the_picture_is_small_and_loads_nothing() -> None:
    picture = RECORDING.read_text(encoding="utf-8")
    assert len(picture) < 30_000
    assert not re.search(r"url\((?!#)|href=|<script", picture)
    assert "docs/session.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
