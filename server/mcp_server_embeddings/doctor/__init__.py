"""The checks of ``mcp-server-embeddings doctor``: installation, model, data folder, servers and clients."""
