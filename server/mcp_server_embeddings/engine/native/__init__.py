"""Build models from their files with OpenVINO operators or numpy, without torch.

``files`` reads a folder in sentence-transformers format, ``tensors`` maps its weights, ``bert`` and ``modernbert``
build transformers, ``sentence`` adds pooling and what follows it, ``static`` serves models without a transformer.
What is not known here raises ``UnsupportedModelError``: the model is then converted through sentence-transformers.
"""
