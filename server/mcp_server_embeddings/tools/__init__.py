"""What the server can do: plain typed functions on texts, without MCP and without asyncio."""
