"""The settings of one process: one frozen object, read by ``cli`` only and passed down."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from mcp_server_embeddings.errors import ConfigurationError

DISTRIBUTION = "mcp-server-embeddings"
ENVIRONMENT_PREFIX = "MCP_EMBEDDINGS_"
DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEVICES = ("cpu", "cuda", "mps")
LOG_LEVELS = ("debug", "info", "warning", "error")
MAX_THREADS = 256


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence part that names the closest known name, or lists all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def default_data_dir() -> Path:
    """The folder the operating system gives this program for its own files."""
    return Path(platformdirs.user_data_dir(DISTRIBUTION, appauthor=False))


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
    threads: int = field(
        default=1,
        metadata={
            "metavar": "N",
            "help": "CPU threads that encode; on a busy machine one is the fastest",
        },
    )
    tools: tuple[str, ...] = field(
        default=(),
        metadata={"metavar": "NAMES", "help": "serve only these tools (comma-separated)"},
    )
    exclude_tools: tuple[str, ...] = field(
        default=(),
        metadata={"metavar": "NAMES", "help": "serve all tools but these (comma-separated)"},
    )
    data_dir: Path = field(
        default_factory=default_data_dir,
        metadata={"metavar": "DIR", "help": "folder for calibrations and files the tools write"},
    )
    log_level: str = field(
        default="warning",
        metadata={"metavar": "LEVEL", "help": "debug, info, warning or error, to stderr; never any text"},
    )

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigurationError("model is empty; give a Hugging Face id or a folder")
        if not 1 <= self.threads <= MAX_THREADS:
            raise ConfigurationError(f"threads={self.threads} is outside 1 to {MAX_THREADS}")
        kind, colon, index = self.device.partition(":")
        if kind not in DEVICES or (colon and not (kind == "cuda" and index.isdecimal())):
            raise ConfigurationError(f"device {self.device!r} is unknown; {nearest(kind, DEVICES)}")
        if self.log_level not in LOG_LEVELS:
            raise ConfigurationError(f"log level {self.log_level!r} is unknown; {nearest(self.log_level, LOG_LEVELS)}")
        if self.tools and self.exclude_tools:
            raise ConfigurationError(
                "tools and exclude-tools are both given; name the wanted ones or the unwanted ones"
            )
