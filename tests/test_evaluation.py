"""The command ``eval``: figures of a small set of our own, words on bad folders, metrics by hand."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from corpus import sentences
from mcp_server_embeddings.cli.main import main
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import Entry, read_retrieval_set
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.evaluation import MODES, Sample, evaluate, index
from mcp_server_embeddings.tools.search import ranked, search
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.metrics import ndcg, recall, reciprocal_rank
from stores import OpenStore

Rows = Iterable[Sequence[str]]

DOCUMENTS = [
    {"_id": "bread", "title": "Bread", "text": "Flour, water and salt are kneaded and baked in the oven."},
    {"_id": "bees", "title": "Bees", "text": "A hive makes honey from the nectar of flowers."},
    {"_id": "tides", "title": "Tides", "text": "The moon pulls the sea up and down twice a day."},
    {"_id": "rails", "text": "The night train runs on rails from one capital to the next."},
    {"_id": "blank", "text": " "},
]
QUERIES = [
    {"_id": "1", "text": "how is bread baked"},
    {"_id": "2", "text": "who makes honey"},
    {"_id": "3", "text": "why does the sea rise and fall"},
    {"_id": "unjudged", "text": "where to sleep on a train"},
]
QRELS = [("1", "bread", "2"), ("2", "bees", "1"), ("3", "tides", "1"), ("3", "rails", "0")]


def beir_folder(
    folder: Path,
    qrels: Rows = QRELS,
    documents: Sequence[Mapping[str, str]] = DOCUMENTS,
    queries: Sequence[Mapping[str, str]] = QUERIES,
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, entries in (("corpus.jsonl", documents), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
    lines = ["\t".join(row) for row in [("query-id", "corpus-id", "score"), *qrels]]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_retrieval_set(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def store(open_at: OpenStore, tmp_path: Path) -> Iterator[CollectionStore]:
    with closing(open_at(tmp_path)) as store:
        yield store


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_one_command_prints_the_figures_of_every_mode(
    data_dir: Path, embedder: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedder.calibration("retrieval")  # the data folder has it then
    folder = beir_folder(tmp_path / "trivia")
    assert main(["eval", str(folder), "--data-dir", str(data_dir)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("trivia: 4 documents (1 empty ones left out) in 4 passages, 3 of 3 queries, seed 0, all-")
    for mode in MODES:
        assert re.search(rf"^ *{mode} +1.000 +1.000 +1.000 +0.000 ", printed, re.MULTILINE)


@pytest.mark.usefixtures("warm_commands")
def test_as_json_the_figures_are_those_of_the_function(
    data_dir: Path, embedder: Embedder, store: CollectionStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = beir_folder(tmp_path / "trivia")
    assert main(["eval", str(folder), "--queries", "2", "--seed", "3", "--json", "--data-dir", str(data_dir)]) == 0
    found = evaluate(embedder, store, [read_retrieval_set(folder)], queries=2, seed=3)
    assert json.loads(capsys.readouterr().out) == found.compact()
    assert (found.sets[0].queries, found.sets[0].judged) == (2, 3)


def test_the_order_is_that_of_the_tool(embedder: Embedder, store: CollectionStore, tmp_path: Path) -> None:
    data = read_retrieval_set(beir_folder(tmp_path / "trivia"))
    assert index(embedder, store, "trivia", data.documents) == 4
    sources = Sources(store, Reader(()))
    for mode in MODES:
        queries = list(data.queries.values())
        answer = search(embedder, queries=queries, source="trivia", mode=mode, top=3, sources=sources)
        for one, of_tool in zip(ranked(embedder, sources, "trivia", queries, mode, 3), answer.results, strict=True):
            assert [(hit.id, hit.score, hit.band) for hit in one.hits] == [
                (hit.id, hit.score, hit.band) for hit in of_tool.hits
            ]
            assert one.no_match == of_tool.no_match
            scores = [hit.score for hit in one.hits]
            assert scores == sorted(scores, reverse=True)


def test_a_name_that_one_passage_has_brings_it_up_among_many_alike(embedder: Embedder, store: CollectionStore) -> None:
    documents = {str(at): Entry("", text) for at, text in enumerate(sentences(200))}
    index(embedder, store, "many", {**documents, "part": Entry("", "Nothing is known of xk77b in the warehouse.")})
    sources = Sources(store, Reader(()))
    (found,) = ranked(embedder, sources, "many", ["the clerk sold two tickets to xk77b"], "hybrid", 5)
    assert found.hits[0].id == "part"


def test_a_document_with_the_id_of_the_query_does_not_count(
    embedder: Embedder, store: CollectionStore, tmp_path: Path
) -> None:
    """As in BEIR, whose duplicate questions are both documents and queries."""
    same = {"_id": "1", "text": "how is bread baked"}
    folder = beir_folder(tmp_path / "same", documents=[same, *DOCUMENTS])
    (figures,) = evaluate(embedder, store, [read_retrieval_set(folder)]).sets
    assert {mode.ndcg_at_10 for mode in figures.modes.values()} == {1.0}


def test_queries_of_the_other_sets_have_no_match(embedder: Embedder, store: CollectionStore, tmp_path: Path) -> None:
    trivia = read_retrieval_set(beir_folder(tmp_path / "trivia"))
    other = beir_folder(
        tmp_path / "other",
        [("1", "lease", "1")],
        [{"_id": "lease", "text": "The tenant pays the deposit before the lease begins."}],
        [{"_id": "1", "text": "when is the deposit of a lease due"}],
    )
    figures = evaluate(embedder, store, [trivia, read_retrieval_set(other)]).sets
    assert [of_set.modes["hybrid"].foreign_no_match for of_set in figures] == [1, 1]
    assert [of_set.modes["hybrid"].no_match for of_set in figures] == [0, 0]


def test_queries_are_a_seeded_choice_of_the_judged_ones(tmp_path: Path) -> None:
    data = read_retrieval_set(beir_folder(tmp_path / "trivia"))
    assert Sample.draw(data, None, 0).queries == ["1", "2", "3"]
    assert len({tuple(Sample.draw(data, 1, seed).queries) for seed in range(20)}) == 3
    assert Sample.draw(data, 2, 5) == Sample.draw(data, 2, 5)


def test_rare_words_are_those_of_one_document(tmp_path: Path) -> None:
    rare = Sample.draw(read_retrieval_set(beir_folder(tmp_path / "trivia")), None, 0).rare
    assert (rare["flour"], rare["nectar"], rare["capital"]) == ("bread", "bees", "rails")
    assert "from" not in rare  # of two documents


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("corpus.jsonl", b"\xff\xfe", "is not UTF-8 from byte 0 on; save it as UTF-8"),
        ("corpus.jsonl", b'{"_id": "x"}\n', "lacks _id or text; every line needs both, as strings"),
        ("queries.jsonl", b"[1]\n", "is no JSON object; put one object on each line"),
        ("queries.jsonl", b'{"_id": "1", "text": ""}\n{"_id": "1", "text": "a"}\n', "has the _id '1' a second time"),
        ("qrels/test.tsv", b"1 bread 1\n", "has 1 columns; wanted: query-id, corpus-id and a whole number"),
        ("qrels/test.tsv", b"1\tbread\t1\n1\tbread\tyes\n", "has the score 'yes'; wanted: "),
        (
            "qrels/test.tsv",
            b"1\tcake\t1\n",
            "names the document 'cake', which is not among the 5 of the folder; add it",
        ),
        ("qrels/test.tsv", b"9\tbread\t1\n", "names the query '9', which is not among the 4 of the folder; add it"),
        ("qrels/test.tsv", b"1\tbread\t0\n", "has no score above 0; give "),
    ],
)
def test_a_bad_retrieval_folder_is_refused_in_words(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "trivia")
    (folder / name).write_bytes(content)
    said = refusal(folder)
    assert words in said
    assert str(folder / name) in said


def test_qrels_may_lie_beside_the_corpus_without_a_header(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "trivia")
    nested = folder / "qrels" / "test.tsv"
    (folder / "qrels.tsv").write_bytes(nested.read_bytes().partition(b"\n")[2])
    nested.unlink()
    assert sorted(read_retrieval_set(folder).relevance) == ["1", "2", "3"]


def test_retrieval_metrics_are_those_computed_by_hand() -> None:
    relevance = {"a": 2, "b": 1, "c": 1}
    third = 1 / math.log2(3)
    assert ndcg(["x", "a", "b"], relevance, 3) == pytest.approx((2 * third + 1 / 2) / (2 + third + 1 / 2))
    assert ndcg(["x", "a", "b"], relevance, 2) == pytest.approx(2 * third / (2 + third))
    assert ndcg(["a"], relevance, 10) == pytest.approx(2 / (2 + third + 1 / 2))
    assert ndcg(["x", "y"], relevance, 10) == 0
    assert recall(["x", "a", "b"], relevance, 2) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "a", "b"], relevance, 10) == pytest.approx(1 / 2)
    assert reciprocal_rank(["x", "a", "b"], relevance, 1) == 0
