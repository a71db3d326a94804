"""Run fastembed in a process with a separate environment, because it pins an older huggingface-hub.

    python fastembed_process.py FOLDER THREADS

For each line, a JSON list of texts, it encodes the texts and answers with the seconds and the first vector.
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
