"""Pages that show the results of tools: a map, a heat map, pairs side by side, groups of duplicates."""

from mcp_server_embeddings.pages.data import PAGES, PageData, page_data
from mcp_server_embeddings.pages.document import check_installed, document

__all__ = ["PAGES", "PageData", "check_installed", "document", "page_data"]
