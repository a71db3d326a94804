"""The settings of one process: one frozen object, read by ``cli`` only and passed down."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import platformdirs

from mcp_server_embeddings.errors import ConfigurationError

DISTRIBUTION = "mcp-server-embeddings"
ENVIRONMENT_PREFIX = "MCP_EMBEDDINGS_"
DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEVICES = ("cpu", "cuda", "mps")
LOG_LEVELS = ("debug", "info", "warning", "error")
EngineName = Literal["auto", "compiled", "reference"]
Precision = Literal["exact", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MAX_THREADS = 256
MAX_CACHE_MB = 1_000_000
MAX_IDLE_MINUTES = 10_080


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence part that names the closest known name, or lists all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def default_data_dir() -> Path:
    """The folder the operating system gives this program for its own files."""
    return Path(platformdirs.user_data_dir(DISTRIBUTION, appauthor=False))


def default_cache_dir() -> Path:
    """The folder the operating system gives this program for what it can make again."""
    return Path(platformdirs.user_cache_dir(DISTRIBUTION, appauthor=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user chose.

    Raises:
        ConfigurationError: A value is outside its range; the message names the allowed ones.
    """

    model: str = field(
        default=DEFAULT_MODEL,
        metadata={
            "metavar": "MODEL",
            "help": "Hugging Face id, or a folder in sentence-transformers format",
        },
    )
    download: bool = field(
        default=False,
        metadata={"help": "fetch the model in the background if it is not on this machine"},
    )
    device: str = field(
        default="cpu",
        metadata={"metavar": "DEVICE", "help": "cpu, cuda, cuda:N or mps"},
    )
    engine: EngineName = field(
        default="auto",
        metadata={
            "metavar": "ENGINE",
            "help": "compiled (the fastest on a CPU), reference (sentence-transformers), or auto",
        },
    )
    precision: Precision = field(
        default="exact",
        metadata={
            "metavar": "PRECISION",
            "help": "exact; or faster and less exact: bf16 (where the processor has it), int8 (int8 weights)",
        },
    )
    threads: int = field(
        default=0,
        metadata={"metavar": "N", "help": "batches encoded at once, each on one CPU thread; 0: up to 4, by cores"},
    )
    cache_size: int = field(
        default=256,
        metadata={
            "metavar": "MB",
            "help": "about how much vectors of texts seen before may take on disk; no text is kept",
        },
    )
    no_cache: bool = field(
        default=False,
        metadata={"help": "remember no vectors, on disk or in memory"},
    )
    idle_unload: float = field(
        default=15.0,
        metadata={"metavar": "MINUTES", "help": "free the model after this long without a call; 0: never"},
    )
    tools: tuple[str, ...] = field(
        default=(),
        metadata={
            "metavar": "NAMES",
            "help": "serve only these tools; core: embed, similarity, rank, status; collections (comma-separated)",
        },
    )
    exclude_tools: tuple[str, ...] = field(
        default=(),
        metadata={"metavar": "NAMES", "help": "serve all tools but these (comma-separated)"},
    )
    allow_dir: tuple[Path, ...] = field(
        default=(),
        metadata={
            "metavar": "FOLDER",
            "repeated": True,
            "help": "collection_add may read files below this folder; may be given several times, none by default",
        },
    )
    data_dir: Path = field(
        default_factory=default_data_dir,
        metadata={"metavar": "DIR", "help": "folder for collections, the cache and what else the tools write"},
    )
    cache_dir: Path = field(
        default_factory=default_cache_dir,
        metadata={"metavar": "DIR", "help": "folder for what was measured or converted of models; may be deleted"},
    )
    log_level: str = field(
        default="warning",
        metadata={"metavar": "LEVEL", "help": "debug, info, warning or error, to stderr; never any text"},
    )

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigurationError("model is empty; give a Hugging Face id or a folder")
        _check_range("threads", self.threads, 0, MAX_THREADS)
        _check_range("cache-size", self.cache_size, 1, MAX_CACHE_MB)
        _check_range("idle-unload", self.idle_unload, 0, MAX_IDLE_MINUTES)
        _check_name("engine", self.engine, get_args(EngineName))
        _check_name("precision", self.precision, PRECISIONS)
        _check_name("log level", self.log_level, LOG_LEVELS)
        kind, colon, index = self.device.partition(":")
        if kind not in DEVICES or (colon and not (kind == "cuda" and index.isdecimal())):
            raise ConfigurationError(f"device {self.device!r} is unknown; {nearest(kind, DEVICES)}")
        for folder in self.allow_dir:
            if not folder.is_dir():
                raise ConfigurationError(f"allow-dir {str(folder)!r} is no folder on this machine; name one that is")
        if self.tools and self.exclude_tools:
            raise ConfigurationError(
                "tools and exclude-tools are both given; name the wanted ones or the unwanted ones"
            )


def _check_range(name: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:  # false for NaN too
        raise ConfigurationError(f"{name}={value} is outside {low} to {high}")


def _check_name(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name} {value!r} is unknown; {nearest(value, known)}")
