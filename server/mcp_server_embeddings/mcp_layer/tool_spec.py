"""A tool as a client sees it: name, words, schemas, and the function behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from mcp_types import Tool, ToolAnnotations

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.arguments import Arguments, parsed
from mcp_server_embeddings.mcp_layer.schemas import input_schema, output_schema
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.tools.results import Result

A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Result)


_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

Effect = Literal["reads", "writes", "destroys"]
_ANNOTATIONS: dict[Effect, ToolAnnotations] = {"reads": _READS, "writes": _WRITES, "destroys": _DESTROYS}


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who asks: the engine, the engine as this call sees it, the collections, and the protocol revision spoken."""

    engine: Engine
    embedder: Embedder
    store: Store
    protocol: str


class AnyToolSpec(Protocol):
    """A ``ToolSpec`` whatever its arguments and result are."""

    @property
    def name(self) -> str:
        """On the wire."""
        ...

    @property
    def description(self) -> str:
        """For the model that chooses."""
        ...

    @property
    def arguments(self) -> type[Arguments]:
        """Validates what the client sends."""
        ...

    @property
    def too_large(self) -> str:
        """What to do when the answer is too large."""
        ...

    def answer(self, caller: ToolContext, raw: Mapping[str, object]) -> tuple[Result, str]:
        """The result and its text."""
        ...

    def listed(self) -> Tool:
        """The entry of ``tools/list``."""
        ...


@dataclass(frozen=True, slots=True)
class ToolSpec(Generic[A, R]):
    """One tool.

    Attributes:
        name: On the wire.
        title: For people.
        description: For the model that chooses: purpose, when, when not, what comes back, what it composes
            with.
        arguments: Validates what the client sends.
        result: What ``run`` returns.
        run: Calls the function in ``tools/``. Runs on a worker thread.
        text: The answer in words.
        too_large: What to do when the answer is too large.
        effect: What it does to anything outside the process.
    """

    name: str
    title: str
    description: str
    arguments: type[A]
    result: type[R]
    run: Callable[[ToolContext, A], R]
    text: Callable[[R, A], str]
    too_large: str
    effect: Effect = "reads"

    def answer(self, caller: ToolContext, raw: Mapping[str, object]) -> tuple[R, str]:
        """The result and its text.

        Raises:
            EmbeddingsError: The arguments are wrong, or the tool refuses them or cannot answer.
        """
        given = parsed(self.arguments, raw)
        result = self.run(caller, given)
        return result, self.text(result, given)

    def listed(self) -> Tool:
        """The entry of ``tools/list``."""
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=input_schema(self.arguments),
            output_schema=output_schema(self.result),
            annotations=_ANNOTATIONS[self.effect],
        )
