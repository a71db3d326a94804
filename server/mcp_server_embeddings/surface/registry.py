"""The tools as a client sees them: name, words, schemas, and the function behind each.

To add a tool: write the function in ``tools/``, its result in ``tools/results.py``, its arguments in
``surface/arguments.py``, its text in ``surface/digest.py``, and one entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from mcp_types import Tool, ToolAnnotations

from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.surface import digest
from mcp_server_embeddings.surface.arguments import (
    Arguments,
    EmbedArguments,
    SimilarityArguments,
    StatusArguments,
    parsed,
)
from mcp_server_embeddings.surface.schemas import input_schema, output_schema
from mcp_server_embeddings.tools.embed import embed
from mcp_server_embeddings.tools.results import Compared, Embedded, Result, Status
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.tools.status import status

A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the engine, the engine as this call sees it, and the protocol revision spoken."""

    engine: Engine
    embedder: Embedder
    protocol: str


@dataclass(frozen=True, slots=True)
class ServedTool(Generic[A, R]):
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
        writes: Whether it can change anything outside the process.
    """

    name: str
    title: str
    description: str
    arguments: type[A]
    result: type[R]
    run: Callable[[Caller, A], R]
    text: Callable[[R, A], str]
    too_large: str
    writes: bool = False

    def answer(self, caller: Caller, raw: Mapping[str, object]) -> tuple[R, str]:
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
            annotations=ToolAnnotations(
                title=self.title,
                read_only_hint=not self.writes,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        )


def _embed(caller: Caller, given: EmbedArguments) -> Embedded:
    return embed(
        caller.embedder,
        given.texts,
        role=given.role,
        dimensions=given.dimensions,
        encoding=given.encoding,
        output=given.output,
        long_text=given.long_text,
    )


def _similarity(caller: Caller, given: SimilarityArguments) -> Compared:
    return similarity(
        caller.embedder,
        given.left,
        given.right,
        metric=given.metric,
        top=given.top,
        long_text=given.long_text,
    )


def _status(caller: Caller, _: StatusArguments) -> Status:
    return status(caller.engine, protocol=caller.protocol)


_EMBED = ServedTool(
    name="embed",
    title="Embed texts",
    description=(
        "Turns texts into embedding vectors. Use it when a program needs the numbers: an index, a plot, "
        "training data. Not to judge meaning yourself: similarity compares texts directly and keeps vectors "
        "out of your context. Returns the vectors inline up to 4,096 numbers, else the path of a .npy file "
        "with one row per text. Files of the same model can be loaded and combined by code."
    ),
    arguments=EmbedArguments,
    result=Embedded,
    run=_embed,
    text=lambda result, _: digest.embedded(result),
    too_large="pass output='file', which returns a path, or fewer texts",
    writes=True,
)

_SIMILARITY = ServedTool(
    name="similarity",
    title="Compare meanings",
    description=(
        "Tells how close in meaning texts are. Use it to compare two texts, to find the nearest pairs between "
        "two lists, or within one list (leave right out). Not for exact wording, facts or logic: opposites on "
        "one subject score high. Returns the closest pairs by position, best first, with score (cosine), "
        "percentile (share of unrelated pairs that score lower) and band: unrelated, weak, related, close, "
        "same. Judge by band; raw scores differ between models. Positions refer to your lists, so answers "
        "combine with those of other tools."
    ),
    arguments=SimilarityArguments,
    result=Compared,
    run=_similarity,
    text=lambda result, given: digest.compared(result, given.left, given.right),
    too_large="pass a smaller top",
)

_STATUS = ServedTool(
    name="status",
    title="Server status",
    description=(
        "Tells which model serves, whether it is still loading, and the limits of a call. Use it when a call "
        "failed or is slow, or to learn the model's token limit. Not needed before other calls: they wait for "
        "the model themselves. Returns state, model identity, device, limits and queue; never waits."
    ),
    arguments=StatusArguments,
    result=Status,
    run=_status,
    text=lambda result, _: digest.status(result),
    too_large="report this as a defect",
)

AnyTool = (
    ServedTool[EmbedArguments, Embedded]
    | ServedTool[SimilarityArguments, Compared]
    | (ServedTool[StatusArguments, Status])
)

TOOLS: tuple[AnyTool, ...] = (_EMBED, _SIMILARITY, _STATUS)
"""Every tool, in the order of ``tools/list``."""


def served_tools(settings: Settings) -> dict[str, AnyTool]:
    """The tools the user wants served, by name, in order.

    Raises:
        ConfigurationError: A name is unknown, or no tool is left.
    """
    every = {tool.name: tool for tool in TOOLS}
    for option, names in (("tools", settings.tools), ("exclude-tools", settings.exclude_tools)):
        for name in names:
            if name not in every:
                raise ConfigurationError(f"{option}: there is no tool {name!r}; {nearest(name, every)}")
    wanted = set(settings.tools or every) - set(settings.exclude_tools)
    if not wanted:
        raise ConfigurationError("exclude-tools leaves no tool to serve; exclude fewer")
    return {name: tool for name, tool in every.items() if name in wanted}
