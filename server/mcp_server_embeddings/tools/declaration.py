"""Declare tools: a tool is a function, and its signature is also the published schema."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.freshness import Freshness
from mcp_server_embeddings.tools.hidden_characters import with_hidden_noted
from mcp_server_embeddings.tools.parameters import Range
from mcp_server_embeddings.tools.results import Result
from mcp_server_embeddings.tools.sources import Sources

P = ParamSpec("P")
R = TypeVar("R", bound=Result)

Effect = Literal["reads", "writes", "destroys"]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Objects that the server injects into a tool, as parameters of the same names, in addition to client arguments.

    Attributes:
        engine: The engine.
        embedder: The engine, bound to this call.
        store: The collections.
        protocol: The MCP revision negotiated with the client; None without a client.
        settings: Settings of the session: folders that may be read, the output folder.
        process: Description of the serving process for ``status``.
        freshness: State of source files, remembered between calls.
    """

    engine: Engine
    embedder: Embedder
    store: CollectionStore
    protocol: str | None
    settings: Settings
    process: str = ""
    freshness: Freshness = field(default_factory=Freshness)

    @property
    def reader(self) -> Reader:
        """Reader of files in the folders that the user allowed."""
        return Reader(self.settings.allow_dir, cancelled=self.embedder.call.raise_if_cancelled)

    @property
    def folders(self) -> Sequence[Path]:
        """The folders that the user allowed."""
        return self.settings.allow_dir

    @property
    def sources(self) -> Sources:
        """Resolver of ``source`` arguments."""
        return Sources(self.store, self.reader, self.freshness)

    @property
    def output_dir(self) -> Path:
        """The folder for ``save_as``."""
        return self.settings.output_dir or self.settings.data_dir / "output"


_PROVIDED = ("engine", "embedder", "store", "protocol", "reader", "sources", "output_dir", "folders", "process")


class Arguments(BaseModel):
    """The arguments of one call; unknown names are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Tool:
    """A declared tool; see ``tool`` for the attributes."""

    function: Callable[..., Result]
    title: str
    description: str
    purpose: str
    too_large: str
    effect: Effect
    core: bool

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function, include_extras=True)

    @property
    def result(self) -> type[Result]:
        """The return type of the function."""
        result: type[Result] = self._hints["return"]
        return result

    @functools.cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters

    @functools.cached_property
    def arguments(self) -> type[Arguments]:
        """The model of client arguments: every parameter that ``ToolContext`` does not provide."""
        sent: dict[str, Any] = {
            name: (self._hints[name], ... if parameter.default is parameter.empty else parameter.default)
            for name, parameter in self._parameters.items()
            if name not in _PROVIDED
        }
        return create_model(self.name, __base__=Arguments, **sent)

    def call(self, context: ToolContext, arguments: Arguments) -> Result:
        """Call the function and add a note if texts of the result contain hidden characters.

        Raises:
            EmbeddingsError: The tool rejects the arguments, or cannot answer.
        """
        values = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        provided = {name: getattr(context, name) for name in self._parameters if name in _PROVIDED}
        return with_hidden_noted(self.function(**values, **provided))

    @functools.cached_property
    def ranges(self) -> dict[str, Range]:
        """The range of each parameter that has one."""
        annotated = {name: get_args(hint)[1:] for name, hint in self._hints.items() if get_origin(hint) is Annotated}
        return {name: mark for name, marks in annotated.items() for mark in marks if isinstance(mark, Range)}


_TOOLS: dict[str, Tool] = {}


def tool(
    *,
    title: str,
    description: str,
    purpose: str = "",
    too_large: str = "pass a smaller top",
    effect: Effect = "reads",
    core: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a function as a tool of the same name. Parameter ranges (``Range``) are checked at each call.

    Args:
        title: Display name for people.
        description: Text from which a model selects tools: purpose, when to use it, when not, result, composition.
        purpose: The purpose in a few words for the guide; empty to omit the tool there.
        too_large: Advice when the answer is too large.
        effect: The strongest effect on anything outside the process.
        core: Whether the tool belongs to ``--tools core``.

    Example:
        >>> @tool(title="Count texts", description="Counts texts. Use it … Not … Returns …")
        ... def count(embedder: Embedder, texts: Annotated[Texts, Field(description="texts to count")]) -> CountResult:
        ...     return CountResult(…)
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            values = signature.bind(*args, **kwargs).arguments
            for name, allowed in declared.ranges.items():
                allowed.check(name, values.get(name))
            return function(*args, **kwargs)

        declared = Tool(checked, title, description, purpose, too_large, effect, core)
        _TOOLS[declared.name] = declared
        return checked

    return declare


@functools.cache
def declared_tools() -> Mapping[str, Tool]:
    """Return all tools of this package by name, those of ``--tools core`` first."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__, f"{__package__}."):
        importlib.import_module(module.name)
    return {tool.name: tool for tool in sorted(_TOOLS.values(), key=lambda tool: (not tool.core, tool.name))}
