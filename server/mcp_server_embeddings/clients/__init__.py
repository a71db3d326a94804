"""The MCP clients of this machine: where each keeps its servers, and how an entry gets into that file."""
