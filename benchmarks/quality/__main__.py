"""Measure the quality of this server on your own data, through the server like any client.

    python benchmarks/quality --sts pairs.csv --labelled rows.csv

One of the two is enough, and each may be repeated. ``--help`` describes the files and further options. The same data,
seed and model give the same figures. For search, use ``mcp-server-embeddings eval``.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
from mcp import MCPError

sys.path.append(str(Path(__file__).parents[1]))

from machine import machine, versions

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.status_results import Status
from quality.labelled import Labelled
from quality.section import Task
from quality.session import open_session
from quality.sts import Sts

DATA = (
    ("--sts", "CSV", "text, text, human score; with or without a header"),
    ("--labelled", "CSV", "columns text and label (or category), or else the first two"),
)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python benchmarks/quality", description=(__doc__ or "").splitlines()[0])
    data = parser.add_argument_group("data, one or more; each option may be repeated")
    for option, form, words in DATA:
        data.add_argument(option, type=Path, action="append", default=[], metavar=form, help=words)
    parser.add_argument("--examples", type=int, default=8, metavar="N", help="few-shot examples per label; 0: none (8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (0)")
    parser.add_argument("--model", help="value of the server's --model")
    options = parser.parse_args()
    if not (options.sts or options.labelled):
        parser.error("there is nothing to measure; give --sts or --labelled with a file")
    if options.examples < 0:
        parser.error("--examples must be 0 or more")
    return options


def read(options: argparse.Namespace) -> list[Task]:
    """Read all data before anything is measured.

    Raises:
        InputError: A file is invalid.
    """
    return [
        *(Sts.read(path) for path in options.sts),
        *(Labelled.read(path, options.examples, options.seed) for path in options.labelled),
    ]


def describe_server(status: Status) -> str:
    """Describe the server and its model in two lines, from its status."""
    server, model = f"{status.server.name} {status.server.version}", status.identity
    assert model is not None, "it is loaded"
    return (
        f"{server}, engine {status.engine}, precision {status.precision}, device {status.device}\n"
        f"model {status.model}: {model.name}, sha256 {model.sha256}, pooling {model.pooling}, {model.dimensions} "
        f"dimensions, at most {model.max_tokens} tokens, prompts {model.query_prompt!r} and {model.document_prompt!r}"
    )


async def measure(tasks: Sequence[Task], model: str | None) -> None:
    """Measure the tasks and print a section for each."""
    async with open_session(model) as session:
        command = shlex.join(["python", "benchmarks/quality", *sys.argv[1:]])
        print(machine(), versions(), describe_server(session.status), command, sep="\n", flush=True)
        for task in tasks:
            print("", await task.measure(session), sep="\n", flush=True)


def main() -> int:
    """Measure; return 2 on errors."""
    options, status = parse_arguments(), 0
    try:
        anyio.run(measure, read(options), options.model)
    except* (InputError, MCPError) as group:  # the client's tasks put errors into groups within groups
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        where = "the connection to the server failed, see above for its own words: " * isinstance(error, MCPError)
        print(f"quality: {where}{error}", file=sys.stderr)
        status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
