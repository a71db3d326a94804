"""The commands: what each takes, and where it is. Nothing of what they need is imported here."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from mcp_server_embeddings.cli.options import Parser, add_options
from mcp_server_embeddings.config import DISTRIBUTION, Settings
from mcp_server_embeddings.errors import ConfigurationError

Run = Callable[[Settings, argparse.Namespace], int]
"""Runs a command and returns the exit status. ``options.operands`` is a list of texts."""

_MODES = ("hybrid", "semantic", "keyword")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: Its first word.
        summary: What it does, for the list of commands.
        module: Where its function is, in this package.
        function: What that is called.
        operands: As usage shows them.
        takes: The same in words.
        example: A whole call.
        least: How many operands at least.
        most: How many at most; None for any number.
        add_options: Declares its own options.
    """

    name: str
    summary: str
    module: str
    function: str = "run"
    operands: str = ""
    takes: str = ""
    example: str = ""
    least: int = 0
    most: int | None = 0
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Options and operands from what follows the program's name.

        Raises:
            ConfigurationError: An option is unknown, or there are too few or too many operands.
        """
        parser = CommandParser(
            prog=DISTRIBUTION,
            usage=" ".join(part for part in ("%(prog)s", self.name, self.operands, "[OPTIONS]") if part),
            description=f"{self.summary[0].upper()}{self.summary[1:]}."
            + (f" Example: {DISTRIBUTION} {self.example}" if self.example else ""),
            allow_abbrev=False,
        )
        parser.add_argument("operands", nargs="*", help=argparse.SUPPRESS)
        self.add_options(parser)
        add_options(parser)
        options = parser.parse_args(arguments)
        if options.operands[:1] == [self.name]:
            del options.operands[0]
        self._check(options.operands)
        return options

    def imported(self) -> Run:
        """Its function. The module is imported now, so that no command pays for what the others need."""
        function: Run = getattr(import_module(f"{__package__}.{self.module}"), self.function)
        return function

    def _check(self, operands: Sequence[str]) -> None:
        if len(operands) < self.least:
            raise ConfigurationError(f"{self.name} takes {self.takes}, as in `{self.example}`")
        if self.most is not None and len(operands) > self.most:
            first = operands[self.most]
            if self.most == 0:
                raise ConfigurationError(f"{self.name} takes no argument {first!r}; see --help")
            raise ConfigurationError(f"one argument too many: {first!r}; see --help")


class CommandParser(Parser):
    """Takes operands before, between and after options."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As in argparse, with a hint where an option is unknown."""
        parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        self.refuse(unknown)
        return parsed


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _index(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--field", metavar="NAME", help="column or key with the text of CSV and JSONL files")
    _json(parser)


def _search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--top", metavar="N", type=_whole, help="how many hits, 1 to 1,000 (default: up to 5)")
    parser.add_argument("--mode", choices=_MODES, default="hybrid", help="meaning, words, or both (default: hybrid)")
    parser.add_argument("--where", metavar="JSON", help='only texts whose metadata fits, as in {"year": {"gte": 2020}}')
    _json(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")
    _json(parser)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} came; give a whole number") from None


COMMANDS = {
    command.name: command
    for command in (
        Command(name="serve", summary="serve over stdio (the default)", module="serve"),
        Command(
            name="index",
            summary="put files into a collection; run again, it takes over what changed",
            module="index",
            operands="NAME PATH...",
            takes="a collection and files, folders or patterns",
            example="index handbook docs notes.md",
            least=2,
            most=None,
            add_options=_index,
        ),
        Command(
            name="search",
            summary="search a collection",
            module="search",
            operands="NAME QUERY",
            takes="a collection and what is looked for",
            example="search handbook 'how do I get a refund'",
            least=2,
            most=2,
            add_options=_search,
        ),
        Command(
            name="collections",
            summary="list the collections",
            module="collections",
            add_options=_json,
        ),
        Command(
            name="export",
            summary="write a collection with its vectors to a .jsonl or .parquet file",
            module="transfer",
            function="run_export",
            operands="NAME FILE",
            takes="a collection and a file",
            example="export handbook handbook.jsonl",
            least=2,
            most=2,
            add_options=_export,
        ),
        Command(
            name="import",
            summary='put what export wrote, or lines such as {"text": "..."}, into a collection',
            module="transfer",
            function="run_import",
            operands="NAME FILE",
            takes="a collection and a file",
            example="import handbook handbook.jsonl",
            least=2,
            most=2,
            add_options=_json,
        ),
        Command(
            name="reindex",
            summary="embed a collection anew with another model; in use until that is done",
            module="transfer",
            function="run_reindex",
            operands="NAME",
            takes="a collection",
            example="reindex handbook --model BAAI/bge-base-en-v1.5",
            least=1,
            most=1,
            add_options=_json,
        ),
        Command(
            name="pull",
            summary="fetch a model for offline use; run again, it keeps finished files",
            module="pull",
            operands="MODEL",
            takes="one model",
            example="pull BAAI/bge-base-en-v1.5",
            least=1,
            most=1,
        ),
        Command(
            name="compile",
            summary="measure a model ahead of time, and convert it if it needs that, so that its first start is quick",
            module="compile",
            operands="[MODEL]",
            takes="at most one model",
            example="compile BAAI/bge-base-en-v1.5",
            most=1,
        ),
        Command(
            name="models",
            summary="list well-known models with sizes, licences and scores",
            module="models",
        ),
    )
}
