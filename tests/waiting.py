"""Waiting for what another thread or process does."""

import threading
import time
from collections.abc import Callable

from wire import PATIENCE


def wait_until(met: Callable[[], bool], expected: str, pause: float = 0.001) -> None:
    """Ask again and again whether something has happened, ``pause`` seconds apart; fail the test when it does not."""
    deadline = time.monotonic() + PATIENCE
    clock = threading.Event()
    while not met():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} seconds: {expected}"
        clock.wait(pause)
