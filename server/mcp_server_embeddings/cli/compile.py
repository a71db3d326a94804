"""``mcp-server-embeddings compile [MODEL]``: do the preparations of a model's first start ahead of time."""

import argparse

from mcp_server_embeddings.cli.output import say
from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.cli.session import Task, run_watched
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine, EngineStatus


def run(settings: Settings, _: argparse.Namespace) -> int:
    """Load the model, convert it unless its graph is built from its files, calibrate it, and print the engine.

    Raises:
        OperatorError: The model is missing, or cannot be used with these settings.
    """
    prepare(settings)
    task = Task()
    with Engine(settings) as engine:
        run_watched(engine.embedder(task.call).calibration, task)
        say(*_summary(engine.status()))
    return 0


def _summary(status: EngineStatus) -> list[str]:
    name = status.identity.name if status.identity else status.model
    lines = [f"{name} is ready: engine {status.engine}, precision {status.precision}"]
    if status.agreement:
        lines.append(
            f"agreement with exact vectors: lowest cosine {status.agreement.minimum_cosine:.6f}, mean "
            f"{status.agreement.mean_cosine:.6f}, nearest probe kept {status.agreement.top1_kept:.1%}"
        )
    return lines
