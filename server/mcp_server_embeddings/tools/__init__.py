"""The tools: plain typed functions on texts, independent of MCP and asyncio."""
