"""Measure the relevance of searches, and validate the two fitted constants of search, on sets that you download.

    python benchmarks/search_quality.py FOLDER... [--queries N] [--data-dir PATH] [--write docs/quality.md]

Folders are in BEIR's layout. ``mcp-server-embeddings eval`` gives the same figures; this program writes them as the
page ``docs/quality.md``. It also fits both constants on all sets except one, and reports the results on that set.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean

os.environ.update(HF_HUB_OFFLINE="1")

import numpy as np
from machine import machine, versions
from tqdm import tqdm

from mcp_server_embeddings import Embedder, Engine, Settings, open_store
from mcp_server_embeddings.config import default_data_dir
from mcp_server_embeddings.reading.beir import RetrievalSet, read_retrieval_set
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.tools.evaluation import FOREIGN, Sample, evaluate
from mcp_server_embeddings.tools.evaluation_results import Evaluation, ModeFigures, SetFigures
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.vectors.calibration import BANDS
from mcp_server_embeddings.vectors.fusion import INDEPENDENCE, WORDS_WEIGHT, fused_scores
from mcp_server_embeddings.vectors.metrics import ndcg

PAGE = """# How well searches find what is relevant

`python benchmarks/search_quality.py FOLDER... --write docs/quality.md` writes this page. `mcp-server-embeddings eval
FOLDER` prints the same figures for your own sets in BEIR's layout. All figures use the default settings, the model
`{model}`, and the search behind the tool `search`. Each set has the same weight in a mean.

{described}
The formula of hybrid search was chosen on these sets and others. Its weight is therefore also measured on sets that
were not used to choose it.

## Ranking

Mean nDCG@10 by meaning, by words, and by both (hybrid), and the gain of hybrid over the better of the two.

{ranking}
Score: `exp(c') + {weight} (1 + 1/n) BM25 / ln N` (`vectors/fusion.py`). The weight below was chosen on
all sets except one and measured on that one:

{left_out}
## Words that occur in only one document

The query is the word alone; the share of documents found in the first five hits.

{rare_words}
## `no_match`

The share of searches that report `no_match`. The rule compares the best hit with the score that chance reaches once in
twenty searches among as many unrelated passages (`above_chance` in `vectors/fusion.py`). It was not fitted to any set,
except for the number of passages that count as independent in searches by meaning. By words, `no_match` means that no
word was found.

Queries with a relevant document, where `no_match` is wrong:

{own}
Queries of the other sets, where `no_match` is right, unless sets share a field (code; medicine) and contain an answer
by chance:

{foreign}
By meaning, `N` passages count as `N ** {independence}` independent ones. The exponent below was chosen on the
collections and queries of all sets except one and measured on that set's collection. It is the lowest with which nine
in ten queries of the other sets have no match:

{independence_left_out}
## Relevance by band

The share of relevant hits in each band, among the first ten hits of hybrid searches. Most queries have only one
relevant document, so nine of ten hits cannot be relevant.

{bands}
Measured on {machine}; {versions}; at most {queries} queries per set, drawn by seed 0.
"""

MODES: Sequence[SearchMode] = ("semantic", "keyword", "hybrid")
WEIGHTS = [0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6]
EXPONENTS = [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]
TARGET = 0.9
DEPTH = 100
CUT = 10

SOURCES = {
    "liveqa": "health questions, graded; MedQuAD and LiveQA of TREC 2017, CC BY 4.0",
    "stackfaq": "FAQ questions in other words; ML-Recipes/BERT-FAQ, MIT, texts of StackExchange, CC BY-SA",
    "cosqa": "web queries, Python functions; Jun-jie-Huang/CoCLR, MIT",
    "anthcode": "questions, passages of Rust code; anthropics/anthropic-cookbook, MIT",
    "anthdocs": "questions, a software's documentation; anthropics/anthropic-cookbook, MIT",
    "chunkeval": "questions, passages of five corpora; brandonstarxel/chunking_evaluation, MIT",
    "pubmedqa": "questions, abstracts; pubmedqa/pubmedqa, MIT",
}
"""Content and source of the sets that the constants were chosen on; the project contains none of their data."""

Rows = list[Sequence[str]]
Shares = dict[tuple[str, str], list[float]]
"""Share of searches by meaning with no match for each exponent, by names of collection and set of queries."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def average(sets: Sequence[SetFigures], mode: SearchMode, figure: Callable[[ModeFigures], float | None]) -> float:
    """Return the mean over the sets, each with the same weight."""
    return mean(value for one in sets if (value := figure(one.modes[mode])) is not None)


def describe_sets(results: Evaluation) -> str:
    """Format the table of the sets."""
    rows = [
        (one.name, SOURCES.get(one.name, ""), f"{one.documents:,}", f"{one.passages:,}", f"{one.queries:,}")
        for one in results.sets
    ]
    return table(("set", "content and source", "documents", "passages", "queries"), rows)


def ranking(results: Evaluation) -> str:
    """Format the mean nDCG@10 of each mode, and the gain of hybrid over the better of its halves."""
    head = ("nDCG@10", "meaning", "words", "hybrid", "hybrid over the better half")
    rows: Rows = []
    differences = []
    for one in results.sets:
        meaning, words, both = (one.modes[mode].ndcg_at_10 for mode in MODES)
        differences.append(both - max(meaning, words))
        rows.append((one.name, f"{meaning:.3f}", f"{words:.3f}", f"{both:.3f}", f"{differences[-1]:+.4f}"))
    means = (average(results.sets, mode, lambda of: of.ndcg_at_10) for mode in MODES)
    last = f"mean {mean(differences):+.4f}, worst {min(differences):+.4f}"
    return table(head, [*rows, ("**mean**", *(f"{value:.3f}" for value in means), last)])


def shares(results: Evaluation, figure: Callable[[ModeFigures], float | None], name: str) -> str:
    """Format a share for each set and mode."""
    rows: Rows = []
    for one in results.sets:
        values = [figure(one.modes[mode]) for mode in MODES]
        rows.append((one.name, *("" if value is None else f"{value:.1%}" for value in values)))
    means = [average(results.sets, mode, figure) for mode in MODES]
    return table((name, "meaning", "words", "hybrid"), [*rows, ("**mean**", *(f"{value:.1%}" for value in means))])


def bands(results: Evaluation) -> str:
    """Format the share of relevant hits in each band, among the first ten hits of hybrid searches."""
    rows: Rows = []
    for one in results.sets:
        of = one.modes["hybrid"].bands
        cells = [f"{of[band].share:.1%} of {of[band].hits:,}" if band in of else "" for band in BANDS]
        rows.append((one.name, *cells))
    means = [
        mean(one.modes["hybrid"].bands[band].share for one in results.sets if band in one.modes["hybrid"].bands)
        for band in BANDS
    ]
    return table(("relevant", *BANDS), [*rows, ("**mean**", *(f"{share:.1%}" for share in means))])


def nearest_weight(figures: dict[str, list[float]], better: dict[str, float], sets: Sequence[str]) -> int:
    """Return the index of the weight with the highest mean among those never far below the better half."""
    worst = [min(figures[name][at] - better[name] for name in sets) for at in range(len(WEIGHTS))]
    allowed = [at for at in range(len(WEIGHTS)) if worst[at] >= max(-0.005, max(worst) - 0.001)] or [
        int(np.argmax(worst))
    ]
    return max(allowed, key=lambda at: mean(figures[name][at] for name in sets))


def left_out(results: Evaluation, figures: dict[str, list[float]]) -> str:
    """Format nDCG@10 of each set with the weight chosen on the others."""
    better = {one.name: max(one.modes["semantic"].ndcg_at_10, one.modes["keyword"].ndcg_at_10) for one in results.sets}
    rows: Rows = []
    for name in figures:
        at = nearest_weight(figures, better, [other for other in figures if other != name])
        value = figures[name][at]
        rows.append((name, f"{WEIGHTS[at]:.2f}", f"{value:.3f}", f"{value - better[name]:+.4f}"))
    return table(("set", "weight chosen without it", "nDCG@10 with it", "over the better half"), rows)


def ndcg_by_weight(embedder: Embedder, collection: Collection, sample: Sample) -> list[float]:
    """Return the mean nDCG@10 of a set for each weight."""
    calibration = embedder.calibration("retrieval")
    gains: list[list[float]] = [[] for _ in WEIGHTS]
    vectors = embedder.embed(sample.texts(), role="query").vectors
    with collection.reading() as view:
        for key, text, vector in zip(sample.queries, sample.texts(), vectors, strict=True):
            near = view.nearest(vector[None], DEPTH)[0]
            matches = view.matching(text, 10 * DEPTH)
            rest = [row for row in matches.keys[:DEPTH] if row not in set(near.keys)]
            rows = [*near.keys, *rest]
            cosines = np.concatenate([near.cosines, view.cosines(rest, vector)]) if rest else near.cosines
            by_row = dict(zip(matches.keys, matches.scores.tolist(), strict=True))
            words = np.array([by_row.get(row, 0.0) for row in rows])
            documents = view.documents_of(rows)
            for at, weight in enumerate(WEIGHTS):
                scored = fused_scores(cosines, words, matches.words, near.total, calibration, weight)
                order = dict.fromkeys(documents[place] for place in np.argsort(-scored, kind="stable"))
                order.pop(key, None)
                gains[at].append(ndcg(list(order), sample.data.relevance[key], CUT))
    return [mean(of_weight) for of_weight in gains]


def no_match_shares(embedder: Embedder, collection: Collection, queries: Sequence[str]) -> list[float]:
    """Return the share of searches by meaning with no match for each exponent."""
    calibration = embedder.calibration("retrieval")
    nearest = collection.nearest(embedder.embed(queries, role="query").vectors, 1)
    best = calibration.relative(np.array([near.cosines[0] for near in nearest]))
    chance = [calibration.by_chance(round(nearest[0].total ** exponent)) for exponent in EXPONENTS]
    return [float((best < limit).mean()) for limit in chance]


def no_match_shares_of_sets(embedder: Embedder, store: CollectionStore, samples: Sequence[Sample]) -> Shares:
    """Run the queries of each set in the collection of each, as many as ``evaluate`` runs."""
    return {
        (of.data.name, sample.data.name): no_match_shares(
            embedder, store.open(f"set-{at}"), sample.texts() if of is sample else sample.texts()[:FOREIGN]
        )
        for at, of in enumerate(samples)
        for sample in samples
    }


def independence_left_out(shares: Shares) -> str:
    """Format the shares of each collection with the exponent chosen on the other sets."""
    rows: Rows = []
    for name in (of for of, asked in shares if of == asked):
        others = [values for key, values in shares.items() if name not in key and key[0] != key[1]]
        correct = [mean(values[at] for values in others) for at in range(len(EXPONENTS))] if others else [1.0]
        at = next((at for at, share in enumerate(correct) if share >= TARGET), len(EXPONENTS) - 1)
        foreign = [values[at] for (of, asked), values in shares.items() if of == name != asked]
        shown = (shares[name, name][at], mean(foreign) if foreign else float("nan"))
        rows.append((name, f"{EXPONENTS[at]:.2f}", *(f"{share:.1%}" for share in shown)))
    head = ("set", "exponent chosen without it", "says no_match, wrongly", "rightly")
    return table(head, rows)


def format_page(results: Evaluation, figures: dict[str, list[float]], no_match: Shares, queries: int | None) -> str:
    """Format the page."""
    return PAGE.format(
        model=results.model,
        described=describe_sets(results),
        ranking=ranking(results),
        weight=WORDS_WEIGHT,
        left_out=left_out(results, figures),
        rare_words=shares(results, lambda of: of.rare_words, "found in the first five"),
        own=shares(results, lambda of: of.no_match, "says no_match, wrongly"),
        foreign=shares(results, lambda of: of.foreign_no_match, "says no_match, rightly"),
        independence=INDEPENDENCE,
        independence_left_out=independence_left_out(no_match),
        bands=bands(results),
        machine=machine(),
        versions=versions(),
        queries="all" if queries is None else queries,
    )


def measure(
    embedder: Embedder, store: CollectionStore, sets: Sequence[RetrievalSet], queries: int | None
) -> tuple[Evaluation, dict[str, list[float]], Shares]:
    """Return the evaluation, nDCG@10 for each weight, and shares without a match for each exponent."""
    with tqdm(unit="search", disable=None) as progress:

        def report(done: int, total: int) -> None:
            progress.total = total
            progress.update(done - progress.n)

        results = evaluate(embedder, store, sets, queries=queries, report=report)
    samples = [Sample.draw(data, queries, results.seed) for data in sets]
    figures = {
        sample.data.name: ndcg_by_weight(embedder, store.open(f"set-{at}"), sample) for at, sample in enumerate(samples)
    }
    return results, figures, no_match_shares_of_sets(embedder, store, samples)


def main() -> None:
    """Measure the sets; print or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--queries", type=int, metavar="N", help="at most N random queries per set (all)")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="data folder with the vector cache")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page instead of printing it")
    options = parser.parse_args()
    sets = [read_retrieval_set(folder) for folder in options.folders]
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_store(Settings(data_dir=Path(folder)))) as store,
        Engine(Settings(data_dir=options.data_dir)) as engine,
    ):
        page = format_page(*measure(engine.embedder(), store, sets, options.queries), options.queries)
    if options.write is None:
        print(page)
    else:
        options.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
