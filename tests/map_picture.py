"""Draw docs/map.png, a map of examples/data/feedback.csv: ``python tests/map_picture.py``."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import Shown, show
from mcp_server_embeddings.cli.main import main

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "map.png"

with TemporaryDirectory() as name:
    folder = Path(name)
    page = folder / "map.html"
    source = f"{ROOT / 'examples' / 'data' / 'feedback.csv'}#text"
    if main(["view", source, "--output", str(page), "--no-open", "--data-dir", str(folder / "data")]):
        sys.exit(1)
    show({"map": Shown(page.as_uri(), [["picture", str(PICTURE)]], size=(1180, 720))}, folder)
