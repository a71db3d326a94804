"""The encoder that asks a server with OpenAI's API, as text-embeddings-inference, vLLM, Infinity and Ollama have it.

``client`` sends texts and repeats what failed for a while, ``probe`` finds out which model answers and how much of a
text it reads, and ``encoder`` joins the two. Nothing else here sends a text anywhere.
"""
