"""The commands and their options. Modules that a command needs are imported only when it runs."""

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from mcp_server_embeddings.cli.options import SERVE, Parser, add_settings
from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.program import DISTRIBUTION, SUMMARY, VERSION

_DESCRIPTION = (
    f"{SUMMARY} for clients of the Model Context Protocol, with a model on this machine. Without a command it serves "
    "over stdio, as MCP clients start it."
)

_TOOLS = {
    "search": ("SOURCE QUERY...", "find items about a question", "handbook 'how do I get a refund'"),
    "read": ("SOURCE ID...", "print the words of items", "docs guide.md"),
    "classify": ("[SOURCE]", "label items", "tickets.csv#message --labels labels.txt --save-as labelled.csv"),
    "cluster": ("[SOURCE]", "group items by theme", "feedback.csv#text --save-as themes.csv"),
    "deduplicate": ("[SOURCE]", "find items that say the same", "tickets.csv#message"),
    "align": ("LEFT RIGHT", "match two lists and show what changed", "old.csv#requirement new.csv#requirement"),
    "condense": ("[SOURCE]", "shorten to representative sentences", "docs --max-tokens 500"),
    "similarity": ("[LEFT] [RIGHT]", "compare texts", "--left 'Payment is late.' --right 'The invoice is overdue.'"),
    "embed": ("[SOURCE]", "turn texts into vectors", "tickets.csv#message --save-as vectors.npy"),
    "status": ("", "show the collections, the model and the limits", ""),
    "collection_remove": ("NAME [ID...]", "remove items, or with --all the whole collection", "handbook --all"),
}
"""Operands, summary and example of each tool's command. Its options are derived from the tool when it is chosen.

``collection_add`` is not among them: it is the command ``index``, which takes several paths.
"""


_VIEWED_TOOLS = ("align", "deduplicate", "similarity")
_VIEW_EXCLUDED = ("save_as", "tag", "top", "members", "levels")
"""Parameters that ``view`` does not offer, since a page shows everything."""


class MainParser(Parser):
    """The top-level parser, which suggests the nearest command for an unknown one.

    Attributes:
        commands: The parsers of all commands, by name.
    """

    commands: Mapping[str, argparse.ArgumentParser] = MappingProxyType({})

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as in argparse, except that ``--modle a/b`` is an unknown option, not an unknown command ``a/b``."""
        leading = takewhile(lambda argument: argument not in self.commands, args)
        options = [argument for argument in leading if argument.startswith("--")]
        self.refuse([option for option in options if option.split("=", 1)[0] not in self._option_string_actions])
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if action.choices is not None and value not in action.choices:
            raise ConfigurationError(f"unknown command {value!r}; {nearest(value, self.commands)}")


class CommandParser(Parser):
    """The parser of a command. Accepts operands before, between and after options, and appends its example to errors.

    Most options are added only when the command is chosen, so that serving starts without them.

    Attributes:
        tool: The tool whose options the command takes; empty if none.
        tools: Alternative tools that the first argument may name.
        without: Parameters of the tool that are not offered as options.
    """

    tool = ""
    tools: Collection[str] = ()
    without: Collection[str] = ()
    _parsing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse everything after the command's name."""
        if self._parsing:  # a nested call from parse_known_intermixed_args below
            return super().parse_known_args(args, namespace)
        self._parsing = True
        if args and args[0] in self.tools:
            self.tool, args = args[0], args[1:]
            self.set_defaults(tool=self.tool)
        self.add_remaining_options()
        parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        self.refuse(unknown)
        return parsed, []

    def add_remaining_options(self) -> None:
        """Add the tool's options and the settings."""
        if self.tool:
            from mcp_server_embeddings.cli.tool import add_options

            add_options(self, self.tool, self.without)
        add_settings(self)

    def error(self, message: str) -> NoReturn:
        """Raise ``ConfigurationError`` instead of exiting, with the command's example."""
        super().error(f"{message}. {self.epilog}" if self.epilog else message)


def main_parser() -> MainParser:
    """Build the parser of the whole command line. ``run`` in its results is ``MODULE:FUNCTION``, for ``cli.main``."""
    parser = MainParser(
        prog=DISTRIBUTION, usage="%(prog)s [COMMAND] [OPTIONS]", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {VERSION}")
    parser.set_defaults(run=SERVE)
    commands = parser.add_subparsers(
        title="commands", description="COMMAND --help lists the options of a command", parser_class=CommandParser
    )
    add_settings(parser)

    def add(
        name: str, run: str, summary: str, operands: str = "", example: str = "", *parents: CommandParser
    ) -> CommandParser:
        command = commands.add_parser(
            name,
            usage=" ".join(filter(None, (DISTRIBUTION, name, operands, "[OPTIONS]"))),
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"Example: {DISTRIBUTION} {name} {example}" if example else None,
            parents=list(parents),
            allow_abbrev=False,
        )
        command.set_defaults(run=run)
        return command

    add("serve", "serve:run", "serve over stdio (the default), or HTTP", "", "--transport http --port 8765")
    for name, (operands, summary, example) in _TOOLS.items():
        command = add(name.replace("collection_", ""), "tool:run", summary, operands, example)
        command.tool = name
        command.set_defaults(tool=name)
    _add_view(add)
    _add_client_commands(add)
    _add_collection_commands(add)
    _add_model_commands(add)
    command = add("token", "new_token:run", "make a token for serving over HTTP", "NAME", "alice")
    command.add_argument("name", metavar="NAME", help="who gets it: a-z, 0-9, - and _")
    command = add("completion", "completion:run", "print a completion script for a shell", "SHELL", "zsh")
    command.add_argument("shell", metavar="SHELL", help="bash, zsh or fish")
    add("skill", "skill:run", "print an Agent Skill (SKILL.md): when an agent should call which tool")
    parser.commands = commands.choices
    return parser


def _add_view(add: Callable[..., CommandParser]) -> None:
    command = add(
        "view",
        "view:run",
        "write an HTML page: a map of the items, or what similarity, align or deduplicate finds",
        "[align|deduplicate|similarity] SOURCE...",
        "tickets.csv#message --colour channel",
    )
    command.tool, command.tools, command.without = "cluster", ("cluster", *_VIEWED_TOOLS), _VIEW_EXCLUDED
    command.set_defaults(tool="cluster")
    command.add_argument("--colour", metavar="NAME", help="colour a map by this column or metadata (default: cluster)")
    command.add_argument("--output", metavar="FILE", type=Path, help="the file to write; replaces an existing one")
    command.add_argument("--no-open", action="store_true", help="do not open the page in a browser")


def _add_client_commands(add: Callable[..., CommandParser]) -> None:
    common = CommandParser(add_help=False)
    common.add_argument("clients", metavar="CLIENT", nargs="*", help="such as claude-code; default: all installed ones")
    common.add_argument("--name", metavar="NAME", default="embeddings", help="name of the server (default: embeddings)")
    common.add_argument("--yes", action="store_true", help="write without asking")
    command = add(
        "install",
        "install:run",
        "add the server to MCP clients, with the settings given here; shows the change and asks first",
        "[CLIENT...]",
        "claude-code --allow-dir ~/notes",
        common,
    )
    command.add_argument("--print", action="store_true", help="only show what to add to each file")
    command = add("doctor", "doctor:run", "check the installation, the model, the data and the servers of clients")
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    add("uninstall", "install:run_uninstall", "take the server out of MCP clients", "[CLIENT...]", "cursor", common)


def _positive_int(value: str) -> int:
    """Parse a whole number of 1 or more; raise ``ArgumentTypeError`` for other values."""
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of 1 or more")
    return int(value)


def _add_collection_commands(add: Callable[..., CommandParser]) -> None:
    as_json, collection, file, scheduler = (CommandParser(add_help=False) for _ in range(4))
    as_json.add_argument("--json", action="store_true", help="print the result as JSON")
    collection.add_argument("name", metavar="NAME", help="a collection")
    file.add_argument("file", metavar="FILE", type=Path, help="a .jsonl or .parquet file")
    scheduler.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="encode in the workers of this Dask scheduler, as tcp://10.0.0.5:8786 (docs/scaling.md)",
    )

    command = add(
        "index",
        "index:run",
        "index files into a collection; run again to update what changed",
        "NAME PATH...",
        "handbook docs notes.md",
        *(collection, as_json, scheduler),
    )
    command.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a file, a folder, a pattern such as 'docs/**/*.md', or tickets.csv#message",
    )
    command.add_argument("--id-field", metavar="NAME", help="column of a table with the ids of its rows")
    command.add_argument("--watch", action="store_true", help="index again when files change, until Ctrl-C")

    command = add(
        "eval",
        "evaluate:run",
        "measure search on your own queries, and compare with the last time",
        "QUERIES...",
        "golden.csv --collection handbook --compare",
        as_json,
    )
    command.add_argument(
        "paths",
        metavar="QUERIES",
        type=Path,
        nargs="+",
        help="with --collection a table with the columns query and id, one row a relevant item; without, folders in "
        "BEIR's layout: corpus.jsonl, queries.jsonl, and qrels/test.tsv or qrels.tsv",
    )
    command.add_argument(
        "--collection", metavar="NAME", default="", help="the collection that the queries are asked of"
    )
    command.add_argument(
        "--compare", action="store_true", help="tell whether this is better than the last run, by a paired bootstrap"
    )
    command.add_argument("--queries", metavar="N", type=_positive_int, help="a random sample of N (default: all)")
    command.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the random sample (default: 0)")

    add("collections", "list_collections:run", "list the collections", "", "", as_json)
    command = add(
        "export",
        "transfer:run_export",
        "write a collection with its vectors to a .jsonl or .parquet file",
        "NAME FILE",
        "handbook handbook.jsonl",
        *(collection, file, as_json),
    )
    command.add_argument("--force", action="store_true", help="overwrite an existing file")
    command.add_argument("--salvage", action="store_true", help="skip what cannot be read in a damaged database")
    add(
        "import",
        "transfer:run_import",
        'import an exported file, or lines such as {"text": "..."}, into a collection',
        "NAME FILE",
        "handbook handbook.jsonl",
        *(collection, file, as_json, scheduler),
    )
    add(
        "reindex",
        "transfer:run_reindex",
        "embed a collection again with another model; it stays usable meanwhile",
        "NAME",
        "handbook --model BAAI/bge-base-en-v1.5",
        *(collection, as_json, scheduler),
    )


def _add_model_commands(add: Callable[..., CommandParser]) -> None:
    example = "BAAI/bge-base-en-v1.5"
    command = add(
        "pull", "pull:run", "fetch a model for offline use; run again, it keeps finished files", "MODEL", example
    )
    command.add_argument(
        "model", metavar="MODEL", help="its Hugging Face id, or a ready choice: better-english, multilingual"
    )
    command = add(
        "compile",
        "compile:run",
        "measure a model ahead of time, and convert it if it needs that, so that its first start is quick",
        "[MODEL]",
        example,
    )
    command.add_argument("model", metavar="MODEL", nargs="?", default=argparse.SUPPRESS, help="instead of --model")
    command = add(
        "engine",
        "engine:run",
        "run the engine process that sessions share, which they otherwise start themselves",
        "",
        "--idle-exit 0",
    )
    command.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    add("models", "models:run", "list well-known models with sizes, licences and scores")
