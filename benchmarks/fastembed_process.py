"""fastembed in a process and an environment of its own: it pins an older huggingface-hub.

    python fastembed_process.py FOLDER

Reads a JSON list of texts a line, encodes it, and answers with the seconds that took.
"""

import json
import sys
import time

from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

TextEmbedding.add_custom_model(
    model="local/minilm",
    pooling=PoolingType.MEAN,
    normalization=True,
    sources=ModelSource(url="https://localhost/unused"),
    dim=384,
    model_file="model.onnx",
)
model = TextEmbedding("local/minilm", specific_model_path=sys.argv[1], threads=int(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    texts = json.loads(line)
    began = time.perf_counter()
    vectors = list(model.embed(texts))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "first": vectors[0].tolist()}), flush=True)
