"""Random tests: a fixed number of examples in ``make test-all``, new ones for a given time in ``make harden``."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

T = TypeVar("T")

Record = Callable[[str, object], None]
"""pytest's ``record_property``: records a count, which ``make harden`` sums over all tests."""


def record_writes(record: Record, acknowledged: Collection[str], stored: Iterable[str]) -> None:
    """Record how many writes were acknowledged and how many of them are missing; fail if one is."""
    lost = set(acknowledged) - set(stored)
    record("acknowledged writes", len(acknowledged))
    record("writes lost", len(lost))
    assert not lost


class Rounds:
    """Run a random test in its short or its long form: the fixture ``rounds``."""

    def __init__(self, long: bool, record: Record) -> None:
        self.long = long
        self.record = record
        self._inputs = 0

    def run_machine(self, machine: type[RuleBasedStateMachine], examples: int, seconds: float) -> None:
        """Run a state machine.

        Args:
            machine: Its class; each example makes an instance.
            examples: Examples of the short form.
            seconds: Duration of the long form, which repeats that number of examples until the time is over.
        """

        def new_machine() -> RuleBasedStateMachine:
            self._inputs += 1
            return machine()

        self._repeat(
            lambda profile: run_state_machine_as_test(new_machine, settings=profile),  # type: ignore[arg-type]
            examples,
            seconds,
        )

    def check_inputs(
        self, check: Callable[[T], object], inputs: st.SearchStrategy[T], examples: int, seconds: float
    ) -> None:
        """Run a check over random inputs; see ``run_machine``."""

        def counted_check(value: T) -> None:
            self._inputs += 1
            check(value)

        self._repeat(lambda profile: profile(given(inputs)(counted_check))(), examples, seconds)

    def _repeat(self, run: Callable[[settings], object], examples: int, seconds: float) -> None:
        deadline = time.monotonic() + (seconds if self.long else 0)
        profile = self._settings(examples)
        run(profile)
        while time.monotonic() < deadline:
            run(profile)
        self.record("random inputs", self._inputs)

    def _settings(self, examples: int) -> settings:
        return settings(
            max_examples=examples,
            stateful_step_count=20,
            database=None,
            derandomize=not self.long,
            print_blob=self.long,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([Phase.shrink] if self.long else [])],  # shrinking can take minutes
        )
