"""``mcp-server-embeddings pull MODEL``: download a model for offline use."""

import argparse
import sys

from tqdm import tqdm

from mcp_server_embeddings.cli.output import say
from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.catalogue import FIGURES, choices, full_id, known
from mcp_server_embeddings.engine.download import download
from mcp_server_embeddings.engine.locate import locate, looks_like_path
from mcp_server_embeddings.errors import ConfigurationError, DownloadError


def run(settings: Settings, _: argparse.Namespace) -> int:
    """Download and verify the model, and print its folder.

    Raises:
        OperatorError: The model cannot be downloaded.
    """
    model = settings.model
    _print_choice(model)
    if looks_like_path(model):
        raise ConfigurationError(f"{model!r} is a folder; pull takes a Hugging Face id, serve takes the folder")
    if full_id(model) != DEFAULT_MODEL:  # which is part of the installation
        _download(model)
    located = locate(model)
    say(f"{located.name} is stored in {located.folder}", f"SHA-256 of its weights: {located.sha256}")
    return 0


def _print_choice(name: str) -> None:
    """Print which model a ready choice stands for, and its scores next to those of the default model."""
    choice = next((choice for choice in choices() if choice.name == name), None)
    chosen, default = (None, None) if choice is None else (known(choice.model), known(DEFAULT_MODEL))
    if choice is None or chosen is None or default is None:
        return
    say(f"{name} is {chosen.id}: {choice.summary}. {chosen.licence}, {chosen.size_mb:.0f} MB.")
    for benchmark, average in FIGURES:
        score, before = chosen.v2(benchmark, average), default.v2(benchmark, average)
        if score is not None and before is not None:
            say(f"  {benchmark}, {average}: {score:.2f} (the default model: {before:.2f})")
    say(*dict.fromkeys(f"  source: {scores.source}" for scores in chosen.mteb_v2))


def _download(model: str) -> None:
    from huggingface_hub.utils import logging as hub_logging

    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    with tqdm(unit="B", unit_scale=True, unit_divisor=1000, desc=model, file=sys.stderr, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            download(model, progress)
        except KeyboardInterrupt:
            raise DownloadError(
                f"download of {model!r} was interrupted; run again to finish, finished files are kept"
            ) from None
