"""Retrieval: do the relevant documents come first?

Documents over the model's token limit are averaged over windows, as the server does unless told otherwise.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Self

from tqdm import tqdm

from mcp_server_embeddings.tools.results import SearchResult
from quality.beir import Collection, read_collection
from quality.metrics import average_precision, ndcg
from quality.section import Figure, Section
from quality.session import Session, parts

_NDCG_CUT = 10
_MAP_CUT = 100


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A folder in BEIR layout.

    Attributes:
        name: Of the folder.
        collection: Of the folder.
        sample: Ids of the queries to ask.
        seed: Of their choice.
    """

    name: str
    collection: Collection
    sample: list[str]
    seed: int

    @classmethod
    def read(cls, folder: Path, most: int, seed: int) -> Self:
        """Read a folder and choose at most so many of the queries that have a relevant document.

        Raises:
            QualityError: The folder is no such folder.
        """
        collection = read_collection(folder)
        judged = list(collection.relevance)
        sample = random.Random(seed).sample(judged, min(most, len(judged)))
        return cls(folder.resolve().name, collection, sample, seed)

    async def measure(self, session: Session) -> Section:
        """Mean nDCG and average precision over the queries; a document without a text is never found."""
        documents = {key: text for key, text in self.collection.documents.items() if text}
        texts = list(documents.values())
        longest_query = max((self.collection.queries[key] for key in self.sample), key=len)
        calls = parts(texts, [longest_query], session.limits)
        gains, precisions = [], []
        for query in tqdm(self.sample, desc=self.name, unit="query", disable=None, leave=False):
            ranking = await self._ranking(session, query, documents, calls)
            relevance = self.collection.relevance[query]
            gains.append(ndcg(ranking, relevance, _NDCG_CUT))
            precisions.append(average_precision(ranking, relevance, _MAP_CUT))
        title = (
            f"{self.name}: {len(texts):,} documents ({len(self.collection.documents) - len(texts):,} empty ones left "
            f"out), {len(self.sample):,} of {len(self.collection.relevance):,} queries with a relevant one, seed "
            f"{self.seed}"
        )
        figures = [
            Figure(f"nDCG@{_NDCG_CUT}", mean(gains), "linear gain"),
            Figure(f"MAP@{_MAP_CUT}", mean(precisions), f"nothing behind place {_MAP_CUT} counts"),
        ]
        return Section(title, figures)

    async def _ranking(
        self, session: Session, query: str, documents: dict[str, str], calls: Sequence[slice]
    ) -> list[str]:
        """Ids, best first: the hits of each call, merged by score, ties in the order of the corpus.

        As in BEIR, a document with the query's own id is not counted.
        """
        keys, texts = list(documents), list(documents.values())
        found: list[tuple[float, str]] = []
        for part in calls:
            asked = {"query": self.collection.queries[query], "mode": "semantic", "top": _MAP_CUT}
            answer = await session.call("search", SearchResult, {**asked, "texts": texts[part]})
            found += [(hit.score, keys[part.start + int(hit.id)]) for hit in answer.hits]
        found.sort(key=lambda hit: -hit[0])
        return [key for _, key in found if key != query]
