"""What ``mcp-server-embeddings doctor`` examines: the installation, the model, the data folder, servers and clients."""
