"""The settings of one process: one frozen object, created by ``cli`` and passed down."""

import os
import sys
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args, get_origin

from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.program import DISTRIBUTION, ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

T = TypeVar("T")

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEVICES = ("cpu", "cuda", "mps")
ENGINES = ("auto", "compiled", "reference", "openai")
REMOTE_ENGINE = "openai"
ENGINE_KEY = ENVIRONMENT_PREFIX + "ENGINE_KEY"
"""The environment variable with the API key of a remote engine. It is not a setting: every user of the machine can see
options, and settings are passed to other processes and shown."""

Precision = Literal["exact", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LogLevel = Literal["debug", "info", "warning", "error"]
EngineProcess = Literal["shared", "own"]
Scope = Literal["session", "engine", "process", "http"]
Transport = Literal["stdio", "http"]

NO_ADDRESS = "store is no address of PostgreSQL; give postgresql://USER@HOST/DATABASE"
"""The error for a malformed address, which it does not repeat because an address may contain a password."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name, or list the first twenty.

    Example:
        >>> nearest("modle", ["device", "model"])
        "did you mean 'model'?"
    """
    import difflib  # deferred: a relay does not need it

    known = sorted(known)
    matches = difflib.get_close_matches(name, known, n=1)
    rest = f" and {len(known) - 20:,} more" if len(known) > 20 else ""
    return f"did you mean {matches[0]!r}?" if matches else f"known: {', '.join(known[:20])}{rest}"


def encoder_entry_points() -> "EntryPoints":
    """Return the encoders that installed packages register; see ``engine/registry.py``."""
    # Deferred, like platformdirs below: a relay starts in half the time without them.
    from importlib.metadata import entry_points

    return entry_points(group="mcp_server_embeddings.encoders")


def default_data_dir() -> Path:
    """Return the operating system's folder for this program's data."""
    if sys.platform == "linux":
        return _xdg_dir("XDG_DATA_HOME", ".local/share")
    from platformdirs import user_data_dir

    return Path(user_data_dir(DISTRIBUTION, appauthor=False))


def default_cache_dir() -> Path:
    """Return the operating system's folder for this program's cache."""
    if sys.platform == "linux":
        return _xdg_dir("XDG_CACHE_HOME", ".cache")
    from platformdirs import user_cache_dir

    return Path(user_cache_dir(DISTRIBUTION, appauthor=False))


def _xdg_dir(variable: str, below_home: str) -> Path:
    """Return the folder that platformdirs would; importing it would take a tenth of a relay's startup time."""
    return Path(os.environ.get(variable, "").strip() or Path.home() / below_home) / DISTRIBUTION


def _metadata(
    metavar: str,
    description: str,
    bounds: tuple[float, float] | None = None,
    scope: Scope = "engine",
    *,
    secret: bool = False,
) -> dict[str, object]:
    """Return the metadata of a setting, from which its option, environment variable, help and README row derive.

    Args:
        metavar: The placeholder for the option's value in the help.
        description: One sentence without a full stop.
        bounds: The smallest and the largest allowed number.
        scope: ``session``: may differ between sessions that share an engine. ``engine``: sessions share an engine only
            if they agree on it. ``process``: how the process itself runs. ``http``: serving HTTP, see docs/http.md.
        secret: It may contain a password, so it is never printed or put on a command line.
    """
    return {"metavar": metavar, "help": description, "bounds": bounds, "scope": scope, "secret": secret}


def _setting(
    default: T,
    metavar: str,
    description: str,
    bounds: tuple[float, float] | None = None,
    scope: Scope = "engine",
) -> T:
    return field(default=default, metadata=_metadata(metavar, description, bounds, scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The user's settings.

    The type of a field determines how its text is parsed and, if it is a ``Literal``, which values are allowed.

    Raises:
        ConfigurationError: A value is not allowed; the message names the allowed ones.

    Example:
        >>> Settings(threads=2).threads
        2
    """

    model: str = _setting(DEFAULT_MODEL, "MODEL", "Hugging Face id, or a folder in sentence-transformers format")
    download: bool = _setting(False, "", "fetch the model in the background if it is not on this machine")
    device: str = _setting("cpu", "DEVICE", "cpu, cuda, cuda:N or mps")
    engine: str = _setting(
        "auto",
        "ENGINE",
        "compiled (the fastest on a CPU), reference (sentence-transformers), auto, openai (a server), a package's own",
    )
    engine_url: str = _setting(
        "", "URL", "with --engine openai: base URL of the server, such as http://localhost:8080/v1"
    )
    engine_model: str = _setting("", "NAME", "with --engine openai: name of the model on that server")
    precision: Precision = _setting(  # noqa: RUF009 - a string
        "exact",
        "PRECISION",
        "exact; or faster and less exact: bf16 (where the processor has it), int8 (int8 weights)",
    )
    threads: int = _setting(0, "N", "batches encoded at once, each on one CPU thread; 0: up to 4, by cores", (0, 256))
    cache_size: int = _setting(
        256, "MB", "approximate disk space for the cache of embedding vectors; no text is cached", (1, 1_000_000)
    )
    no_cache: bool = _setting(False, "", "cache no vectors, neither on disk nor in memory")
    idle_unload: float = _setting(
        15.0, "MINUTES", "free the model after this long without a call; 0: never", (0, 10_080)
    )
    reranker: str = _setting(
        "", "MODEL", "reorder the best hits of a search with a cross-encoder: Hugging Face id or folder"
    )
    rerank_ms: int = _setting(300, "MS", "time for reranking a query; hits that do not fit come last", (0, 20_000))
    tools: tuple[str, ...] = _setting(
        (),
        "NAMES",
        "serve only these tools; core: embed, similarity, search, status; collections (comma-separated)",
        scope="session",
    )
    exclude_tools: tuple[str, ...] = _setting(
        (), "NAMES", "serve all tools except these (comma-separated)", scope="session"
    )
    allow_dir: tuple[Path, ...] = _setting(
        (),
        "FOLDER",
        "tools may read files below this folder; may be given several times, none by default",
        scope="session",
    )
    data_dir: Path = field(
        default_factory=default_data_dir,
        metadata=_metadata("DIR", "folder for collections, the vector cache and other files that tools write"),
    )
    store: str = field(
        default="",
        repr=False,
        metadata=_metadata(
            "URL",
            "keep collections in PostgreSQL with pgvector, not in the data folder: postgresql://HOST/DATABASE",
            secret=True,
        ),
    )
    output_dir: Path | None = _setting(  # noqa: RUF009 - a constant
        None, "DIR", "folder for the files that save_as writes (default: output in the data folder)", scope="session"
    )
    cache_dir: Path = field(
        default_factory=default_cache_dir,
        metadata=_metadata("DIR", "folder for calibrations and converted models; may be deleted"),
    )
    log_level: LogLevel = _setting(  # noqa: RUF009 - a string
        "warning", "LEVEL", "debug, info, warning or error, to stderr; never any text", scope="session"
    )
    engine_process: EngineProcess = _setting(  # noqa: RUF009 - a string
        "shared",
        "HOW",
        "shared: one engine process for all sessions of the user (Linux, macOS); own: serve in this process",
        scope="process",
    )
    idle_exit: float = _setting(
        10.0, "MINUTES", "a shared engine ends after this long without a session; 0: never", (0, 10_080), "process"
    )
    transport: Transport = _setting(  # noqa: RUF009 - a string
        "stdio", "NAME", "stdio, or http for many clients", scope="process"
    )
    host: str = _setting("127.0.0.1", "ADDRESS", "address to listen on", scope="http")
    port: int = _setting(8765, "N", "port to listen on; 0: a free one", (0, 65_535), "http")
    allowed_host: tuple[str, ...] = _setting(
        (),
        "NAMES",
        "additional host names by which clients reach the server, as in a URL (comma-separated)",
        scope="http",
    )
    tokens: Path | None = _setting(  # noqa: RUF009 - a constant
        None, "FILE", "who may call, and with which folders; needed for any address but loopback", scope="http"
    )
    stateful: bool = _setting(
        False, "", "keep a session for each client of the older protocol; one process only", scope="http"
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(setting, getattr(self, setting.name))
        if not self.model.strip():
            raise ConfigurationError("model is empty; give a Hugging Face id or a folder")
        if self.engine not in ENGINES:
            _check_registered(self.engine)
        _check_remote(self)
        device, colon, index = self.device.partition(":")
        if device not in DEVICES or (colon and not (device == "cuda" and index.isdecimal())):
            raise ConfigurationError(f"device {self.device!r} is unknown; {nearest(device, DEVICES)}")
        _check_store(self.store)
        for folder in self.allow_dir:
            if not folder.is_dir():
                raise ConfigurationError(f"allow-dir {str(folder)!r} is not a directory")
        if self.tools and self.exclude_tools:
            raise ConfigurationError("pass either tools or exclude-tools, not both")


def flag(field: "Field[object]") -> str:
    """Return ``--log-level`` for ``log_level``."""
    return "--" + field.name.replace("_", "-")


def variable(field: "Field[object]") -> str:
    """Return ``MCP_EMBEDDINGS_LOG_LEVEL`` for ``log_level``."""
    return ENVIRONMENT_PREFIX + field.name.upper()


def default(field: "Field[object]") -> object:
    """Return the default value of a setting."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _check_store(store: str) -> None:
    """Refuse an address that is not PostgreSQL's."""
    if store and not store.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(NO_ADDRESS)


def _check_registered(engine: str) -> None:
    """Refuse an unknown engine. Only called for names that are not built in: it reads every package's metadata."""
    known = (*ENGINES, *encoder_entry_points().names)
    if engine not in known:
        raise ConfigurationError(f"engine {engine!r} is unknown; {nearest(engine, known)}")


def _check_remote(settings: Settings) -> None:
    """Refuse a remote engine without its required settings, and settings that do not apply to the chosen engine."""
    remote = settings.engine == REMOTE_ENGINE
    required = {"engine-url": settings.engine_url.strip(), "engine-model": settings.engine_model.strip()}
    for name, value in required.items():
        if remote and not value:
            raise ConfigurationError(f"{name} is empty; --engine {REMOTE_ENGINE} needs --engine-url and --engine-model")
        if value and not remote:
            raise ConfigurationError(f"{name} is for --engine {REMOTE_ENGINE}; pass that too, or leave {name} out")
    if not remote:
        return
    _check_url(settings.engine_url)
    local = {"model": DEFAULT_MODEL, "device": "cpu", "precision": "exact"}
    for name, value in local.items():
        if getattr(settings, name) != value:
            raise ConfigurationError(
                f"{name} is for models of this machine; leave it out with --engine {settings.engine}"
            )


def _check_url(url: str) -> None:
    if any(character in url for character in "@?#"):  # the message does not repeat the URL: it may contain a password
        raise ConfigurationError(
            "engine-url has more than scheme, host, port and path; leave out names, passwords and parameters, and pass "
            f"a key in the variable {ENGINE_KEY}"
        )
    from urllib.parse import urlsplit  # deferred: a relay does not need it

    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a malformed port or IPv6 address
        usable = False
    if not usable:
        raise ConfigurationError(f"engine-url {url!r} is not a URL of HTTP; give one as http://localhost:8080/v1")


def _check(setting: "Field[object]", value: float | str) -> None:
    name, bounds, choices = setting.name.replace("_", "-"), setting.metadata["bounds"], get_args(setting.type)
    if bounds and not bounds[0] <= float(value) <= bounds[1]:  # false for NaN too
        raise ConfigurationError(f"{name}={value} is outside {bounds[0]} to {bounds[1]}")
    if get_origin(setting.type) is Literal and value not in choices:
        raise ConfigurationError(f"{name} {value!r} is unknown; {nearest(str(value), choices)}")
