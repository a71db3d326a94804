"""The prompts of a model, by role."""

from collections.abc import Mapping

from mcp_server_embeddings.engine.catalogue import known
from mcp_server_embeddings.engine.identity import Prompts

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names under which models store the document prompt, in the order sentence-transformers tries them."""


def prompts_for(model: str, own: Mapping[str, str | None], default_name: str | None) -> Prompts:
    """Choose the prompts in the model's own files, else those its authors prescribe, from the catalogue.

    ``SentenceTransformer.encode_query`` and ``encode_document`` choose in this order. The files of
    BAAI/bge-base-en-v1.5, for one, lack the prompt that its authors prescribe.

    Args:
        model: Hugging Face id, or the folder's name.
        own: The prompts in its files, by name.
        default_name: Which of them is for texts without a role.
    """
    entry = known(model)
    document = next((prompt for key in _DOCUMENT_PROMPTS if (prompt := own.get(key))), "")
    return Prompts(
        query=own.get("query") or (entry.prompts.query if entry else ""),
        document=document or (entry.prompts.document if entry else ""),
        symmetric=own.get(default_name or "") or "",
    )
