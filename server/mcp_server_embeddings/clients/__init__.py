"""MCP clients: where each one's configuration file is, and how to add a server to it or remove it."""
