"""Name and version of this program. A relay imports this module, so it imports nothing itself."""

DISTRIBUTION = "mcp-server-embeddings"
VERSION = "0.1.0"
SUMMARY = "Local embeddings, semantic search and text comparison"
ENVIRONMENT_PREFIX = "MCP_EMBEDDINGS_"
