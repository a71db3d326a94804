"""Which program this is; nothing else is imported here, so that a relay can."""

DISTRIBUTION = "mcp-server-embeddings"
VERSION = "0.1.0"
ENVIRONMENT_PREFIX = "MCP_EMBEDDINGS_"
