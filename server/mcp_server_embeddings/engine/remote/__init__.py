"""The encoder for servers with OpenAI's API, such as text-embeddings-inference, vLLM, Infinity and Ollama.

``client`` sends texts and retries failed requests, ``probe`` finds out which model answers and how much of a text it
reads, and ``encoder`` combines the two. Only ``client`` sends texts to a server.
"""
