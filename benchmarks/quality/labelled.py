"""Measure how well labels are recovered from their names, from examples, and by clustering."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.results import ClassifyResult, ClusterResult
from quality.metrics import accuracy_and_macro_f1, coverage_and_accuracy, v_measure
from quality.rows import Row, distinct, read_rows
from quality.section import Figure, Section
from quality.session import Session, parts


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file of labelled texts.

    Attributes:
        title: Heading: the file, its columns, and the numbers of texts and labels.
        rows: Rows in the order of the file, each text once.
        labels: Sorted labels.
        examples: Few-shot examples per label; 0 omits few-shot.
        seed: Seed for the choice of examples and of texts to cluster.
    """

    title: str
    rows: list[Row]
    labels: list[str]
    examples: int
    seed: int

    @classmethod
    def read(cls, path: Path, examples: int, seed: int) -> Self:
        """Read a file, without rows that repeat a text.

        Raises:
            InputError: The file is invalid, or has too few rows for a label.
        """
        every_row, columns = read_rows(path)
        rows = distinct(every_row)
        counts = Counter(row.label for row in rows)
        if len(counts) < 2:
            raise InputError(f"{path} has fewer than 2 labels: {sorted(counts)}; give texts of 2 or more")
        rarest, fewest = counts.most_common()[-1]
        if examples and fewest <= examples:
            raise InputError(
                f"{path} has too few different texts of the label {rarest!r}, {fewest}; --examples {examples} needs "
                f"{examples + 1} of each: give a smaller number (0 leaves few-shot out), or leave out rare labels"
            )
        title = (
            f"{path.name}, {columns}: {len(rows):,} different texts ({len(every_row) - len(rows):,} repeated ones left "
            f"out), {len(counts):,} labels, seed {seed}"
        )
        return cls(title, rows, sorted(counts), examples, seed)

    async def measure(self, session: Session) -> Section:
        """Measure zero-shot on all rows, few-shot on all rows except the examples, and clusters of a sample."""
        figures = await self._measure_labels(session, "zero-shot", [], self.rows)
        if self.examples:
            shown, held_out = self._split()
            figures += await self._measure_labels(session, f"{self.examples}-shot", shown, held_out)
        return Section(self.title, figures + await self._measure_clusters(session))

    def _split(self) -> tuple[list[Row], list[Row]]:
        """Split rows into random examples of every label and all other rows."""
        choice = random.Random(self.seed)
        of_label: dict[str, list[Row]] = {label: [] for label in self.labels}
        for row in self.rows:
            of_label[row.label].append(row)
        shown = [row for rows in of_label.values() for row in choice.sample(rows, self.examples)]
        seen = set(shown)
        return shown, [row for row in self.rows if row not in seen]

    async def _measure_labels(self, session: Session, name: str, shown: list[Row], rows: list[Row]) -> list[Figure]:
        labels = [row.label for row in rows]
        predicted, method = await self._classify(session, shown, rows, abstain=False)
        accuracy, macro_f1 = accuracy_and_macro_f1(predicted, labels)
        predicted, _ = await self._classify(session, shown, rows, abstain=True)
        coverage, accuracy_of_answered = coverage_and_accuracy(predicted, labels)
        return [
            Figure(f"{name} accuracy", accuracy, f"{len(rows):,} texts, method {method}"),
            Figure(f"{name} macro F1", macro_f1),
            Figure(f"{name} with abstain: share answered", coverage),
            Figure(f"{name} with abstain: accuracy of those", accuracy_of_answered),
        ]

    async def _classify(
        self, session: Session, shown: list[Row], rows: list[Row], *, abstain: bool
    ) -> tuple[list[str | None], str]:
        """Return the label given to each row, and the method."""
        texts, examples = [row.text for row in rows], [{"text": row.text, "label": row.label} for row in shown]
        predicted: list[str | None] = []
        method = ""
        for part in parts(texts, [*self.labels, *(row.text for row in shown)], session.limits):
            arguments = {"texts": texts[part], "labels": self.labels, "examples": examples, "abstain": abstain}
            answer, saved = await session.saved("classify", ClassifyResult, arguments)
            predicted += [str(row["label"]) if row["label"] is not None else None for row in saved]
            method = answer.method
        return predicted, method

    async def _measure_clusters(self, session: Session) -> list[Figure]:
        """Measure the V-measure of the largest random sample that fits into one call."""
        sample = random.Random(self.seed).sample(self.rows, len(self.rows))
        rows = sample[parts([row.text for row in sample], [], session.limits)[0]]
        texts, labels = [row.text for row in rows], [row.label for row in rows]
        figures = []
        for name, clusters in (("number of labels given", len(set(labels))), ("number chosen", None)):
            answer, saved = await session.saved("cluster", ClusterResult, {"texts": texts, "clusters": clusters})
            members: dict[object, list[int]] = {}
            for position, row in enumerate(saved):
                if row["cluster"] is not None:
                    members.setdefault(row["cluster"], []).append(position)
            note = f"{len(texts):,} texts, {len(members):,} clusters; outliers, as clusters of one: {answer.outliers:,}"
            value = v_measure(list(members.values()), labels)
            figures.append(Figure(f"V-measure, {name}", value, note))
        return figures
