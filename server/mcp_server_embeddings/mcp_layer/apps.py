"""Pages inside clients: MCP Apps (https://github.com/modelcontextprotocol/ext-apps).

Only clients that declare the extension see the pages. Nothing changes for other clients, and the code that builds pages
is not imported for them.
"""

import logging
from collections.abc import Mapping

import pydantic_core
from mcp_types import CallToolResult, ReadResourceResult, Resource, TextResourceContents, Tool

from mcp_server_embeddings.errors import CallCancelledError, EmbeddingsError
from mcp_server_embeddings.mcp_layer.arguments import parse
from mcp_server_embeddings.mcp_layer.notifications import Context
from mcp_server_embeddings.tools import declaration
from mcp_server_embeddings.tools.declaration import ToolContext

_log = logging.getLogger(__name__)

_ROOT = "ui://embeddings/"

DATA_KEY = "mcp-server-embeddings/page"
"""Key in ``_meta`` of a result, whose value is the data of its page. Models do not read ``_meta``."""

_MAX_DATA_BYTES = 2_000_000
"""Maximum size of a page's data; the command ``view`` shows larger sources. Clients drop lines over 10 MB."""


def shows_pages(context: Context) -> bool:
    """Return whether the client shows pages."""
    capabilities = context.session.client_capabilities
    if capabilities is None or not capabilities.extensions:
        return False
    from mcp.server.apps import client_supports_apps  # imported only if needed, since it takes 5 ms

    return client_supports_apps(context)


def with_page(tool: Tool) -> Tool:
    """Return the entry in ``tools/list`` with a link to the page that shows the tool's answers, if there is one."""
    if not _has_page(tool.name):
        return tool
    return tool.model_copy(update={"meta": {"ui": {"resourceUri": f"{_ROOT}{tool.name}"}}})


def list_pages() -> list[Resource]:
    """Return the pages as entries of ``resources/list``."""
    from mcp.server.apps import APP_MIME_TYPE

    from mcp_server_embeddings.pages import PAGES

    return [
        Resource(uri=f"{_ROOT}{name}", name=name, title=f"What {name} finds", mime_type=APP_MIME_TYPE)
        for name in PAGES
        if _has_page(name)
    ]


def read_page(uri: str) -> ReadResourceResult | None:
    """Return a page without data, since the client passes the data to it; None for a URI of something else."""
    name = uri.removeprefix(_ROOT)
    if not uri.startswith(_ROOT) or not _has_page(name):
        return None
    from mcp.server.apps import APP_MIME_TYPE, ResourcePermissions

    from mcp_server_embeddings.pages import document

    permissions = ResourcePermissions(clipboard_write={}).model_dump(by_alias=True, exclude_none=True)
    contents = TextResourceContents(
        uri=uri, mime_type=APP_MIME_TYPE, text=document(name, None), meta={"ui": {"permissions": permissions}}
    )
    return ReadResourceResult(contents=[contents])


def add_page_data(
    answer: CallToolResult, tool: declaration.Tool, raw: Mapping[str, object], context: ToolContext
) -> CallToolResult:
    """Return a tool's answer with the data of its page; without the data if it cannot be computed or is too large."""
    if answer.is_error or not _has_page(tool.name):
        return answer
    from mcp_server_embeddings.pages import page_data

    try:
        data = page_data(tool, parse(tool.arguments, raw), context)
    except CallCancelledError:
        raise
    except EmbeddingsError as error:
        _log.warning("no page for %s: %s", tool.name, type(error).__name__)
        return answer
    if len(pydantic_core.to_json(data)) > _MAX_DATA_BYTES:
        return answer
    return answer.model_copy(update={"meta": {**(answer.meta or {}), DATA_KEY: data}})


def _has_page(name: str) -> bool:
    from mcp_server_embeddings.pages import PAGES, check_installed

    if name not in PAGES:
        return False
    try:
        check_installed(name)
    except EmbeddingsError:
        return False
    return True
