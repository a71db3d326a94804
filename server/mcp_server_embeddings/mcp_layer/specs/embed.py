"""The tool ``embed``."""

import json
from typing import Literal

from pydantic import Field

from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, LongTexts, Texts
from mcp_server_embeddings.mcp_layer.rendering import counted, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.embed import embed
from mcp_server_embeddings.tools.results import EmbedResult


class EmbedArguments(Arguments):
    """Arguments of ``embed``."""

    texts: Texts = Field(description="texts to embed", json_schema_extra=BOUNDS)
    role: Role = Field(default="symmetric", description="side of a search; symmetric: compare like with like")
    dimensions: int | None = Field(
        default=None,
        description="shorten the vectors; only for Matryoshka models",
        json_schema_extra={"minimum": 1},
    )
    encoding: Literal["float", "base64"] = Field(default="float", description="base64: little-endian float32")
    output: Literal["auto", "inline", "file"] = Field(
        default="auto", description="file: a .npy; auto: inline up to 4,096 numbers"
    )
    long_text: LongTexts = "window"
    save_as: str | None = Field(default=None, description="a collection to store the texts in too")


def _run(context: ToolContext, given: EmbedArguments) -> EmbedResult:
    return embed(
        context.embedder,
        given.texts,
        role=given.role,
        dimensions=given.dimensions,
        encoding=given.encoding,
        output=given.output,
        long_text=given.long_text,
        save_as=given.save_as,
        store=context.store,
    )


def _text(result: EmbedResult, _: EmbedArguments) -> str:
    """Say where the vectors are, and give them when they were asked for inline."""
    head = (
        f"{counted(result.usage.texts, 'vector')} of {result.dimensions} dimensions ({result.encoding}, {result.model})"
    )
    last = [*_saved(result), used(result.usage)]
    if result.file is not None:
        shape = " x ".join(map(str, result.file.shape))
        head += f" in the file {result.file.path} (NumPy .npy, {shape}, {result.file.dtype})."
        return "\n".join([head, *last])
    return "\n".join([f"{head}:", *(_vector(vector) for vector in result.vectors or []), *last])


def _saved(result: EmbedResult) -> list[str]:
    if result.saved is None:
        return []
    saved = result.saved
    counts = f"{saved.added:,} added, {saved.updated:,} updated, {saved.unchanged:,} unchanged"
    return [f"Collection {saved.collection}: {counts}."]


def _vector(vector: list[float] | str) -> str:
    return vector if isinstance(vector, str) else json.dumps(vector, separators=(",", ":"))


TOOL = ToolSpec(
    name="embed",
    title="Embed texts",
    description=(
        "Turns texts into embedding vectors. Use it when a program needs the numbers: an index, a plot, "
        "training data. Not to judge meaning: the other tools compare texts and keep vectors out of your context. "
        "Returns up to 4,096 numbers inline, else the path of a .npy file, one row per text."
    ),
    arguments=EmbedArguments,
    result=EmbedResult,
    run=_run,
    text=_text,
    too_large="pass output='file', which returns a path, or fewer texts",
    effect="writes",
)
