"""Write a page as one self-contained HTML document that cannot access the network."""

import base64
import gzip
import hashlib
import json
import secrets
from collections.abc import Sequence
from importlib import resources
from importlib.util import find_spec
from string import Template

from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.pages.data import PageData
from mcp_server_embeddings.program import DISTRIBUTION

_PLOTLY_PAGES = ("cluster", "similarity")
"""The pages that draw with Plotly; the others omit it, which makes them a hundredth of the size."""

_SCRIPTS = (
    "common.js",
    "texts.js",
    "item_list.js",
    "map.js",
    "map_drawing.js",
    "heat_map.js",
    "pairs.js",
    "bridge.js",
    "start.js",
)
"""Concatenated in this order into one script, since a separate hash in the policy for each would add nothing."""

_EMPTY_STYLE = ""
"""Plotly creates an empty style element and adds rules to it by script, which the policy does not restrict."""


def check_installed(page: str) -> None:
    """Check that the packages a page needs are installed, before anything is computed for it.

    Raises:
        ConfigurationError: The page needs the extra ``view``, which is not installed.
    """
    needed = {"cluster": ("plotly", "openTSNE"), "similarity": ("plotly",)}.get(page, ())
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"this page needs {' and '.join(missing)}, not installed here: run pip install '{DISTRIBUTION}[view]'"
        )


def document(page: str, data: PageData | None) -> str:
    """Return a page.

    Data and library are compressed and encoded as base64: no text can close its script element, and 5 MB become 2.

    Args:
        page: One of ``PAGES``; decides which code is included.
        data: The return value of ``page_data``; None for a page that receives it from the client that shows it.

    Raises:
        ConfigurationError: See ``check_installed``.
    """
    check_installed(page)
    style, script = _static_file("page.css"), "\n".join(map(_static_file, _SCRIPTS))
    library = _plotly_source() if page in _PLOTLY_PAGES else ""
    nonce = secrets.token_urlsafe(16)
    return Template(_static_file("page.html")).substitute(
        policy=_policy([script, library], [style, _EMPTY_STYLE], nonce if library else ""),
        nonce=nonce,
        page=page,
        style=style,
        script=script,
        library=_compressed(library),
        data=_compressed("" if data is None else json.dumps(data, separators=(",", ":"))),
    )


def _policy(scripts: Sequence[str], styles: Sequence[str], nonce: str) -> str:
    """Return a content security policy that allows these scripts and styles by hash, generated images, and no network.

    The nonce is for scripts that a script creates: Plotly's code for WebGL, which would otherwise need ``unsafe-eval``.
    """
    allowed = [*map(_hash, filter(None, scripts)), *([f"'nonce-{nonce}'"] if nonce else [])]
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(allowed)}",
            f"style-src {' '.join(map(_hash, styles))}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _compressed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode() if text else ""


def _static_file(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def _plotly_source() -> str:
    return resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
