"""Build models from their files with OpenVINO operators or numpy, without torch.

``files`` reads a folder in sentence-transformers format, ``tensors`` maps its weights, ``bert`` and ``modernbert``
build transformers, ``sentence`` adds pooling for embeddings, ``classifier`` adds the head of a cross-encoder, and
``static`` runs models without a transformer. An unsupported part raises ``UnsupportedModelError``; an embedding model
is then converted through sentence-transformers.
"""
