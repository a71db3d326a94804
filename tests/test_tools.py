"""Call the tools through an in-memory client, mostly with the real model."""

import base64
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcp_server_embeddings
from calls import call, client, error, structured
from corpus import sentences
from fakes import FakeEncoder
from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import LoadedEncoder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.locate import LocatedModel, locate, verify_weights
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.errors import CallCancelledError, InputError, ModelLoadError, OperatorError
from mcp_server_embeddings.reading.found import FoundFile
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.tools.embed import embed
from mcp_server_embeddings.tools.results import VectorFile
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.vectors.calibration import BANDS
from mcp_server_embeddings.vectors.scores import Metric
from scripts import run
from wire import PATIENCE


def test_similarity_of_two_lists_is_complete(engine: Engine) -> None:
    result = call(engine, "similarity", {"left": ["Apple"], "right": ["Orange", "Lightning"]})
    assert structured(result) == {
        "model": engine.embedder().identity().short,
        "metric": "cosine",
        "pairs": [
            {"left": 0, "right": 1, "score": 0.4251, "percentile": 99.98, "band": "weak"},
            {"left": 0, "right": 0, "score": 0.3726, "percentile": 99.94, "band": "weak"},
        ],
        "scores": [[0.3726, 0.4251]],
    }


def test_similarity_without_right_compares_every_distinct_pair(engine: Engine) -> None:
    found = structured(call(engine, "similarity", {"left": ["a cat", "a dog", "the moon"]}))
    assert sorted((pair["left"], pair["right"]) for pair in found["pairs"]) == [(0, 1), (0, 2), (1, 2)]
    assert [len(row) for row in found["scores"]] == [3, 3, 3]


def test_similarity_names_items_by_their_own_ids(engine: Engine) -> None:
    sent = {"left": {"x": "Apple"}, "right": [{"id": 7, "text": "Apple"}, {"id": "y", "text": "Lightning"}]}
    pairs = structured(call(engine, "similarity", sent))["pairs"]
    assert [(pair["left"], pair["right"]) for pair in pairs] == [("x", 7), ("x", "y")]


def test_similarity_shows_what_differs_between_close_texts(engine: Engine) -> None:
    left, right = ["Pay within 30 days.", "You must log in."], ["Pay within 60 days.", "You must not log in."]
    pairs = structured(call(engine, "similarity", {"left": left, "right": right, "top": 2}))["pairs"]
    differs = {pair["left"]: pair["differs"] for pair in pairs}
    assert differs[0]["numbers"] == ["30 days → 60 days"]
    assert differs[1]["negation"]
    same = structured(call(engine, "similarity", {"left": ["Pay now."], "right": ["Pay now."]}))["pairs"]
    assert "differs" not in same[0]


def test_similarity_of_two_files(engine: Engine, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "one.md").write_text("Cats sleep most of the day.", encoding="utf-8")
    (tmp_path / "b" / "two.md").write_text("A cat is asleep for hours.", encoding="utf-8")
    with Engine(Settings(data_dir=tmp_path / "data", allow_dir=(tmp_path,))) as other:
        found = structured(call(other, "similarity", {"left_source": "a", "right_source": "b"}))
        assert [(pair["left"], pair["right"], pair["band"]) for pair in found["pairs"]] == [
            ("one.md", "two.md", "close")
        ]
        assert f"ids of left are paths below {tmp_path}/a/" in found["notes"]
        (tmp_path / "a" / "two.md").write_text("Dogs run fast.", encoding="utf-8")
        inside = structured(call(other, "similarity", {"left_source": "a"}))
        assert inside["folder"] == f"{tmp_path}/a/"
        assert {inside["pairs"][0]["left"], inside["pairs"][0]["right"]} == {"one.md", "two.md"}


def test_top_pairs_are_sent_and_no_more(engine: Engine) -> None:
    texts = sentences(60)
    assert len(structured(call(engine, "similarity", {"left": texts[:5], "top": 3}))["pairs"]) == 3
    assert len(structured(call(engine, "similarity", {"left": texts, "top": 300}))["pairs"]) == 300


def test_a_hundred_texts_are_answered_in_under_six_kilobytes(engine: Engine) -> None:
    result = call(engine, "similarity", {"left": [f"this is text number {i}" for i in range(100)]})
    assert "scores" not in structured(result)
    assert len(result.model_dump_json(by_alias=True, exclude_none=True)) < 6000


def test_paraphrases_are_close_and_unrelated_texts_are_not(engine: Engine) -> None:
    left = ["The meeting was moved to Friday."]
    right = ["They moved the meeting to Friday.", "Our cat sleeps all day."]
    pairs = structured(call(engine, "similarity", {"left": left, "right": right}))["pairs"]
    assert [pair["band"] for pair in pairs] == ["same", "unrelated"]


@pytest.mark.parametrize("metric", ["dot", "euclidean", "manhattan"])
def test_percentile_and_band_do_not_depend_on_the_metric(embedder: Embedder, metric: Metric) -> None:
    texts = ["a cat", "a dog", "the moon", "a kitten"]
    by_cosine = {(p.left, p.right): (p.percentile, p.band) for p in similarity(embedder, texts).pairs}
    other = similarity(embedder, texts, metric=metric).pairs
    assert {(p.left, p.right): (p.percentile, p.band) for p in other} == by_cosine
    assert [p.score for p in other] == sorted((p.score for p in other), reverse=True)


@settings(max_examples=15)
@given(st.permutations(["Apple", "Orange", "Lightning", "a storm over the sea", "fruit salad"]))
def test_permuting_the_texts_permutes_the_answer(embedder: Embedder, texts: list[str]) -> None:
    named = {frozenset((texts[int(p.left)], texts[int(p.right)])): p.score for p in similarity(embedder, texts).pairs}
    plain = ["Apple", "Orange", "Lightning", "a storm over the sea", "fruit salad"]
    for pair in similarity(embedder, plain).pairs:
        assert named[frozenset((plain[int(pair.left)], plain[int(pair.right)]))] == pytest.approx(pair.score, abs=1e-4)


def test_the_same_call_gives_the_same_answer(engine: Engine) -> None:
    arguments = {"left": ["Apple", "Orange", "Lightning"]}
    assert call(engine, "similarity", arguments) == call(engine, "similarity", arguments)


def test_embed_gives_rounded_floats_that_are_the_vector(engine: Engine) -> None:
    result = call(engine, "embed", {"texts": ["Apple"]})
    (vector,) = structured(result)["vectors"]
    expected = engine.embedder().embed(["Apple"]).vectors[0]
    np.testing.assert_allclose(vector, expected, atol=5.1e-7)
    assert all(len(f"{abs(x):.9f}".rstrip("0")) <= 8 for x in vector)


def test_embed_gives_base64_little_endian_float32(engine: Engine) -> None:
    result = call(engine, "embed", {"texts": ["Apple", "Orange"], "encoding": "base64"})
    vectors = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in structured(result)["vectors"]]
    np.testing.assert_array_equal(np.stack(vectors), engine.embedder().embed(["Apple", "Orange"]).vectors)


def test_vectors_are_inline_up_to_4096_numbers_and_then_a_file(engine: Engine) -> None:
    inline = structured(call(engine, "embed", {"texts": [f"t{i}" for i in range(10)]}))
    assert "file" not in inline
    assert len(inline["vectors"]) == 10
    found = structured(call(engine, "embed", {"texts": [f"t{i}" for i in range(11)]}))
    assert "vectors" not in found
    stored = np.load(found["file"]["path"])
    assert (list(stored.shape), str(stored.dtype)) == (found["file"]["shape"], found["file"]["dtype"])
    np.testing.assert_array_equal(stored, engine.embedder().embed([f"t{i}" for i in range(11)]).vectors)


def test_vectors_are_saved_under_a_name_and_never_over_another_file(embedder: Embedder, tmp_path: Path) -> None:
    named = embed(embedder, ["Apple"], save_as="one.npy", output_dir=tmp_path)
    assert named.vectors is None
    assert named.file == VectorFile(path=str(tmp_path / "one.npy"), shape=[1, 384], dtype="float32")
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy"), embedder.embed(["Apple"]).vectors)
    same = embed(embedder, ["Apple"], save_as="one.npy", output_dir=tmp_path)
    assert (same.file, same.notes) == (named.file, [])
    again = embed(embedder, ["Orange"], save_as="one.npy", output_dir=tmp_path)
    assert again.notes == ["one.npy existed and was kept; the result is in one-2.npy"]
    assert again.file == VectorFile(path=str(tmp_path / "one-2.npy"), shape=[1, 384], dtype="float32")
    for wrong in ("../one.npy", "one.txt", "/tmp/one.npy", ""):
        with pytest.raises(InputError, match="save_as="):
            embed(embedder, ["Apple"], save_as=wrong, output_dir=tmp_path)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_vectors_are_saved_as_a_table_with_ids_and_texts(embedder: Embedder, tmp_path: Path, ending: str) -> None:
    texts: dict[str | int, str] = {"a": "Apple", "o": "Orange"}
    found = embed(embedder, texts, save_as=f"t.{ending}", output_dir=tmp_path)
    assert found.file is not None
    table = Reader([tmp_path]).select([found.file.path])
    (entry,) = table.entries
    assert isinstance(entry, FoundFile)
    columns = entry.table(entry.read())
    assert list(columns.columns) == ["id", "text", "vector"]
    assert (list(columns.column("id")), list(columns.column("text"))) == (["a", "o"], ["Apple", "Orange"])
    vectors = np.array([json.loads(str(cell)) for cell in columns.column("vector")])
    np.testing.assert_allclose(vectors, embedder.embed(["Apple", "Orange"]).vectors, atol=1e-6)


def test_windowed_and_truncated_texts_are_noted(engine: Engine) -> None:
    texts = ["short", "long " * 400]
    windowed = structured(call(engine, "embed", {"texts": texts}))
    assert windowed["notes"] == ["1 of texts are longer than the model reads; each is the mean of its windows: 1"]
    truncated = structured(call(engine, "embed", {"texts": {"s": "a", "l": texts[1]}, "long_text": "truncate"}))
    assert truncated["notes"] == ["1 of texts are longer than the model reads; only their beginnings were read: l"]
    refused = error(call(engine, "similarity", {"left": texts, "long_text": "error"}))
    assert "text 1 has 402 tokens, the model reads 256" in refused


def test_shortened_vectors_are_unit_prefixes_on_a_model_trained_for_it(bge_embedder: Embedder) -> None:
    short = embed(bge_embedder, ["Apple"], dimensions=20)
    assert short.vectors is not None
    prefix = bge_embedder.embed(["Apple"]).vectors[0, :20]
    np.testing.assert_allclose(np.array(short.vectors[0], float), prefix / np.linalg.norm(prefix), atol=1e-5)
    assert short.dimensions == 20
    with pytest.raises(InputError, match="allows 16 to 64"):
        embed(bge_embedder, ["Apple"], dimensions=15)
    with pytest.raises(InputError, match="allows 16 to 64"):
        embed(bge_embedder, ["Apple"], dimensions=65)


@pytest.mark.parametrize("given_texts", ["Apple", '["Apple"]', ["Apple"]])
def test_a_bare_string_and_a_json_list_in_a_string_are_accepted(engine: Engine, given_texts: object) -> None:
    found = structured(call(engine, "embed", {"texts": given_texts, "encoding": "base64"}))
    expected = structured(call(engine, "embed", {"texts": ["Apple"], "encoding": "base64"}))
    assert found == expected


def test_a_text_that_only_looks_like_json_is_a_text(engine: Engine) -> None:
    for odd in ("[sic] an apple", "[unclosed", "{curly}", "null", "7", "(1)"):
        assert len(structured(call(engine, "embed", {"texts": odd}))["vectors"]) == 1


def test_a_lone_surrogate_given_to_the_python_api_is_replaced(embedder: Embedder) -> None:
    assert similarity(embedder, ["cut \ud83d"], ["cut \ufffd"]).pairs[0].score == 1.0


def test_a_full_or_read_only_data_folder_is_named_with_the_way_out(engine: Engine, tmp_path: Path) -> None:
    blocked = tmp_path / "file-not-folder"
    blocked.write_text("", encoding="utf-8")
    with Engine(Settings(data_dir=blocked), FakeEncoder().load) as other:
        message = error(call(other, "embed", {"texts": ["a"], "save_as": "a.npy"}))
        assert "--output-dir" in message
        assert structured(call(other, "similarity", {"left": ["a b", "a c"]}))["pairs"]


def test_a_failed_load_is_reported_to_every_call_and_the_server_stays_up(tmp_path: Path) -> None:
    with Engine(Settings(model=str(tmp_path / "nowhere"), data_dir=tmp_path)) as broken:
        for _ in range(2):
            assert "does not exist; pass a folder" in error(call(broken, "embed", {"texts": ["a"]}))
        found = structured(call(broken, "status", {}))
        assert found["state"] == "failed"
        assert "does not exist" in found["detail"]


def test_damaged_weights_are_an_error_and_not_a_crash(bge_folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bge_folder, damaged)
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with (
        Engine(Settings(model=str(damaged), data_dir=tmp_path)) as broken,
        pytest.raises(ModelLoadError, match="not a valid safetensors file"),
    ):
        broken.embedder().identity()


def test_an_unusable_device_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    with (
        Engine(Settings(device="cuda:7", data_dir=tmp_path)) as broken,
        pytest.raises(OperatorError, match="--device cpu"),
    ):
        broken.embedder().identity()


@pytest.mark.slow
def test_a_call_that_waits_for_the_model_reports_growing_progress(tmp_path: Path) -> None:
    reported = threading.Event()
    reports: list[tuple[float, str | None]] = []

    def load(*_: object) -> LoadedEncoder:
        reported.wait(PATIENCE)
        return FakeEncoder().load()

    async def report(progress: float, total: float | None, message: str | None) -> None:
        del total
        reports.append((progress, message))
        if len(reports) == 2:
            reported.set()

    async def main(waiting: Engine) -> None:
        async with client(waiting) as connected:
            structured(await connected.call_tool("embed", {"texts": ["a"]}, progress_callback=report))

    with Engine(Settings(data_dir=tmp_path), load) as waiting:
        anyio.run(main, waiting)
    assert [progress for progress, _ in reports] == sorted({progress for progress, _ in reports})
    assert [message for _, message in reports[:2]] == ["loading the model"] * 2


def test_a_crash_in_the_runtime_stays_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = FakeEncoder()
    with Engine(Settings(data_dir=tmp_path), encoder.load) as engine:
        engine.embedder().calibration()
        encoder.fail_on = "poison"
        message = error(call(engine, "embed", {"texts": ["poison"]}))
        assert "the runtime failed" not in message
        assert "log" in message
        assert not call(engine, "embed", {"texts": ["fine"]}).is_error
    assert "the runtime failed" in caplog.text


class Panic(BaseException):
    """Stands for the panic of a library in Rust, which is not an ``Exception``."""


def test_a_library_that_panics_while_the_model_loads_fails_the_call(tmp_path: Path) -> None:
    def panic(*_: object) -> LoadedEncoder:
        raise Panic("index out of bounds")

    with Engine(Settings(data_dir=tmp_path), panic) as engine, pytest.raises(ModelLoadError, match="cannot be loaded"):
        engine.embedder().identity()


def test_the_same_text_twice_is_encoded_once(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    with Engine(Settings(data_dir=tmp_path), encoder.load) as engine:
        embedder = engine.embedder()
        embedder.calibration()
        encoder.batches.clear()
        result = similarity(embedder, ["one", "two"], ["two", "one", "one"])
    assert sorted(text for batch in encoder.batches for text in batch) == ["one", "two"]
    assert len(result.pairs) == 6


def test_a_calibration_is_measured_once_and_a_damaged_one_is_measured_again(tmp_path: Path) -> None:
    def edges() -> tuple[tuple[float, ...], int]:
        encoder = FakeEncoder()
        with Engine(Settings(data_dir=tmp_path, cache_dir=tmp_path), encoder.load) as engine:
            return engine.embedder().calibration().edges, len(encoder.batches)

    first, batches = edges()
    assert batches > 0
    assert edges() == (first, 0)
    for stored in (tmp_path / "calibration").iterdir():
        stored.write_bytes(b"PK\x03\x04 damaged")
    again, batches = edges()
    assert again == first
    assert batches > 0


def test_the_models_resource_lists_the_catalogue_with_sources(engine: Engine) -> None:
    async def main() -> str:
        async with client(engine) as connected:
            (content,) = (await connected.read_resource("embeddings://models")).contents
            return str(content.model_dump()["text"])

    models = json.loads(anyio.run(main))
    assert models[0]["id"] == "sentence-transformers/all-MiniLM-L6-v2"
    bge = next(model for model in models if model["id"] == "BAAI/bge-base-en-v1.5")
    assert bge["prompts"]["query"] == "Represent this sentence for searching relevant passages: "
    assert {(block["benchmark"], block["mean"]) for block in bge["mteb_v2"]} == {
        ("MTEB(eng, v2)", 65.14),
        ("MTEB(Multilingual, v2)", 44.7),
    }
    assert bge["mteb"]["benchmark"] == "MTEB English v1 (56 tasks)"
    nomic = next(model for model in models if model["id"] == "nomic-ai/nomic-embed-text-v1.5")
    assert nomic["instead"] == "Alibaba-NLP/gte-modernbert-base"
    assert all(model["sources"] for model in models)


def test_the_public_names_are_exactly_those_in_all() -> None:
    for name in mcp_server_embeddings.__all__:
        assert getattr(mcp_server_embeddings, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = mcp_server_embeddings.nothing


def test_bands_are_ordered_in_the_contract() -> None:
    assert BANDS == ("unrelated", "weak", "related", "close", "same")


def test_a_closed_engine_refuses_calls_and_loads_nothing(tmp_path: Path) -> None:
    loads: list[Settings] = []

    def load(settings: Settings, _: Callable[[str], None]) -> LoadedEncoder:
        loads.append(settings)
        return FakeEncoder().load()

    engine = Engine(Settings(data_dir=tmp_path), load)
    engine.start()
    engine.close()
    with pytest.raises(CallCancelledError, match="create a new one"):
        engine.embedder().embed(["a"])
    assert len(loads) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("idle_unload", [0, 15])
def test_no_thread_is_left_in_the_models_runtime_when_a_program_leaves_its_engine(
    tmp_path: Path, data_dir: Path, idle_unload: float
) -> None:
    """A thread left there sometimes crashed the process as it ended."""
    before = set(threading.enumerate())
    for folder in (tmp_path, data_dir):  # the engine is left while the model is loaded or measured, then after that
        with Engine(Settings(data_dir=folder, idle_unload=idle_unload)) as engine:
            if folder is data_dir:
                engine.embedder().calibration()
        assert set(threading.enumerate()) <= before


def test_an_encoder_that_fails_while_it_is_measured_fails_every_call_with_a_reason(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    encoder.fail_on = "Lift"  # a word of the reference set
    with Engine(Settings(data_dir=tmp_path, cache_dir=tmp_path), encoder.load) as engine:
        with pytest.raises(ModelLoadError, match="cannot be loaded"):
            engine.embedder().calibration()
        encoder.fail_on = ""
        assert len(engine.embedder().calibration().paraphrase) >= 120


def test_weights_that_are_not_the_models_are_refused_before_they_are_read(bge_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"expected 0{64}; .*reinstall"):
        ReferenceEncoder(LocatedModel("other", bge_folder, "0" * 64), "cpu", 1)


def test_the_bundled_weights_are_those_of_the_published_model() -> None:
    verify_weights(locate(DEFAULT_MODEL))
    assert locate("all-MiniLM-L6-v2").sha256.startswith("53aa51172d142c89")


HASHED = """
import sys
from mcp_server_embeddings.engine.locate import locate, verify_weights

def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".safetensors"):
        print("read")

sys.addaudithook(hook)
verify_weights(locate(sys.argv[1]))
"""


def test_the_weights_of_a_folder_are_read_once_to_be_hashed(bge_folder: Path) -> None:
    assert run(HASHED, str(bge_folder)) == "read\n"


def test_weights_that_change_after_they_were_hashed_are_refused(bge_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bge_folder, tmp_path / "model")
    located = locate(str(folder))
    verify_weights(located)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(ModelLoadError, match=r"'model\.safetensors' was changed on disk"):
        verify_weights(located)
