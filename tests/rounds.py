"""How long random tests go on: a moment in ``make test``, minutes in ``make harden``."""

import os

from hypothesis import HealthCheck, Phase, settings

LONG = os.environ.get("MCP_EMBEDDINGS_TEST_ROUNDS") == "long"
"""Set by ``make harden``."""


def checks(examples: int) -> settings:
    """Examples of a random test: ten times as many as given, thirty times that in ``make harden``."""
    return settings(
        max_examples=examples * (300 if LONG else 10),
        stateful_step_count=20,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if LONG else [])],  # shrinking takes minutes
    )
