"""Write docs/benchmarks.md and its plot from the rows of a run."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from machine import machine, versions
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
_BEGIN, _END = "<!-- measured -->\n", "\n<!-- /measured -->"


@dataclass(frozen=True)
class Row:
    """A measured figure.

    Attributes:
        what: Name of the measurement.
        value: A ratio by default; see ``unit``.
        target: Target, or None.
        unit: Unit of ``value``.
        at_most: Whether ``target`` is an upper bound instead of a lower one.
    """

    what: str
    value: float
    target: float | None
    unit: str = "×"
    at_most: bool = False

    def cells(self) -> tuple[str, str, str, str]:
        """Return the cells of the table: name, value, target, verdict."""
        if self.target is None:
            return self.what, self._format(self.value), "", ""
        met = self.value <= self.target if self.at_most else self.value >= self.target
        bound = f"{'≤' if self.at_most else '≥'} {self._format(self.target)}"
        return self.what, self._format(self.value), bound, "met" if met else f"missed: {self._shortfall()}"

    def _shortfall(self) -> str:
        assert self.target is not None
        return f"{abs(self.value / self.target - 1):.0%} {'over' if self.at_most else 'short'}"

    def _format(self, value: float) -> str:
        if self.unit == "of peak":
            return f"{value:.0%}"
        digits = 0 if value >= 100 else 2 if self.unit == "×" else 1
        return f"{value:,.{digits}f} {self.unit}"


def write_report(rows: list[Row], rates: dict[str, dict[str, float]], peak: float, *, quick: bool) -> None:
    """Print the tables; write them and the plot into docs/ unless the run was quick."""
    text = "\n".join(
        [
            (
                f"{dt.datetime.now(dt.UTC):%Y-%m-%d}; {machine()}; {versions()}. One core's fp32 GEMM peak: "
                f"{peak / 1e9:.0f} GFLOP/s."
            ),
            "",
            "| what | measured | wanted | |",
            "| --- | ---: | ---: | --- |",
            *(f"| {' | '.join(row.cells())} |" for row in rows),
            "",
            "| documents a second | C | D |",
            "| --- | ---: | ---: |",
            *(f"| {name} | {rate:.0f} | {rates['D'][name]:.1f} |" for name, rate in rates["C"].items()),
        ]
    )
    print(text)
    if quick:
        return
    path = DOCS / "benchmarks.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    path.write_text(before + _BEGIN + text + _END + after, encoding="utf-8")
    _plot(rates, DOCS / "benchmarks.png")


def _plot(rates: dict[str, dict[str, float]], path: Path) -> None:
    """Plot the throughput on C and D, relative to sentence-transformers on one thread."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    names = list(rates["C"])
    for axes, (workload, rates_of_workload) in zip(figure.subplots(1, 2, sharey=True), rates.items(), strict=True):
        base = next(iter(rates_of_workload.values()))
        ratios = [rates_of_workload[name] / base for name in names]
        bars = axes.barh(names, ratios, color=["#4c78a8" if "project" in name else "#b0b0b0" for name in names])
        axes.bar_label(bars, [f"{ratio:.2f} ×" for ratio in ratios], padding=3)
        axes.set_xlim(0, max(ratios) * 1.2)
        axes.set_title({"C": "C: short documents", "D": "D: 5 to 400 tokens"}[workload])
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.suptitle("Documents a second, over sentence-transformers on one thread")
    figure.savefig(path, dpi=130)
