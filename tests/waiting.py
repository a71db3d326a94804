"""Wait for another thread or process."""

import threading
import time
from collections.abc import Callable

from wire import PATIENCE


def wait_until(condition: Callable[[], bool], expected: str, pause: float = 0.001) -> None:
    """Check a condition every ``pause`` seconds until it is met; fail the test if that takes too long."""
    deadline = time.monotonic() + PATIENCE
    clock = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} seconds: {expected}"
        clock.wait(pause)
