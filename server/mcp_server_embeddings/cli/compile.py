"""``mcp-server-embeddings compile [MODEL]``: convert a model ahead of time."""

import argparse
import sys
from dataclasses import replace

from tqdm import tqdm

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.artifact import converted
from mcp_server_embeddings.engine.locate import locate


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Convert unless that was done, check, and say how near it is and where it lies.

    Raises:
        OperatorError: The model is missing or does not convert.
    """
    if options.operands:
        settings = replace(settings, model=str(options.operands[0]))
    with tqdm(total=0, bar_format="{desc} ({elapsed})", file=sys.stderr, disable=None) as bar:
        root = settings.data_dir / "compiled"
        artifact = converted(locate(settings.model), settings.precision, root, bar.set_description_str)
    agreement = artifact.manifest.agreement
    sys.stdout.write(
        f"{artifact.manifest.identity.name}, precision {settings.precision}, lies in {artifact.folder}\n"
        f"agreement with sentence-transformers: lowest cosine {agreement.minimum_cosine:.6f}, mean "
        f"{agreement.mean_cosine:.6f}, nearest probe kept {agreement.top1_kept:.1%}\n"
    )
    return 0
