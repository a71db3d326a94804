"""``mcp-server-embeddings pull MODEL``: fetch a model for offline use."""

import sys

from tqdm import tqdm

from mcp_server_embeddings.engine.download import download
from mcp_server_embeddings.engine.locate import locate, looks_like_path
from mcp_server_embeddings.errors import ConfigurationError


def run(model: str) -> int:
    """Fetch, verify, and say where it lies.

    Raises:
        OperatorError: It cannot be fetched.
    """
    if looks_like_path(model):
        raise ConfigurationError(f"{model!r} is a folder; pull takes a Hugging Face id, serve takes the folder")
    with tqdm(unit="B", unit_scale=True, unit_divisor=1000, desc=model, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        download(model, progress)
    located = locate(model)
    sys.stdout.write(f"{located.name} lies in {located.folder}\nSHA-256 of its weights: {located.sha256}\n")
    return 0
