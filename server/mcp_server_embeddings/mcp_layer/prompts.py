"""Prompts for common tasks, which a user picks in the client."""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from mcp_types import Prompt, PromptArgument

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.errors import InputError

Values = Mapping[str, str]
"""Values of the arguments that the user filled in, by name; blank values are left out."""

_TEXTS_HELP = "one text a line, a JSON list, or a source: a collection or a path such as tickets.csv#message"

_PATH = re.compile(r"\A(?:~|\.|/|\w:\\)|\.[A-Za-z]\w{1,7}(?:#[^#]*)?\Z")
"""Matches what is common in paths and rare in one-line texts: the beginning or the suffix of a path."""

_MAX_PATH_CHARACTERS = 300
"""Maximum characters of a path; a longer line is taken for a text."""


@dataclass(frozen=True, slots=True)
class ServedPrompt:
    """One prompt.

    Attributes:
        entry: The entry of ``prompts/list``.
        text: Builds the message to the model.
        tools: The tools that the message asks the model to call; the prompt is listed only if all of them are served.
        choices: Completions of an argument, the default first; unless they are numbers, no other value is accepted.
    """

    entry: Prompt
    text: Callable[[Values], str]
    tools: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def message(self, values: Values) -> str:
        """Return the message with the arguments filled in.

        Raises:
            InputError: An argument is missing, unknown or not allowed.
        """
        arguments = {argument.name: argument for argument in self.entry.arguments or []}
        filled = {name: value for name, value in values.items() if value.strip()}
        for name in filled:
            if name not in arguments:
                raise InputError(f"prompt {self.entry.name!r} has no argument {name!r}; {nearest(name, arguments)}")
        for name, argument in arguments.items():
            if argument.required and name not in filled:
                raise InputError(f"prompt {self.entry.name!r} needs {name!r}: {argument.description}")
        for name, choices in self.choices.items():
            _check_choice(name, filled.get(name, choices[0]), choices)
        return self.text(filled)

    def completions(self, argument: str, prefix: str) -> list[str]:
        """Return the choices that begin with what the user has typed, in order."""
        return [choice for choice in self.choices.get(argument, ()) if choice.startswith(prefix.strip().lower())]


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if choices[0].isdecimal():
        if not value.isdecimal() or int(value) < 1:
            raise InputError(f"{name} is {value!r}; allowed: a whole number from 1, such as {choices[0]}")
    elif value not in choices:
        raise InputError(f"{name} is {value!r}; allowed: {', '.join(choices)}")


def _duplicates_message(values: Values) -> str:
    keep = values.get("keep", "longest")
    return (
        f"Find the duplicates in {_input(values, 'texts')}. Call deduplicate with keep={keep}. Read the pairs under "
        "doubtful, which are nearest the threshold: if pairs that do not say the same are duplicates there, call it "
        "again with a threshold above their score. Then show by id what stays, what goes and why, and ask before "
        "anything is deleted."
    ) + _appended_texts(values, "texts")


def _themes_message(values: Values) -> str:
    number = f" and clusters={values['themes']}" if "themes" in values else ""
    return (
        f"Sort {_input(values, 'texts')} into themes. Call cluster{number}. Name each theme in a few words from its "
        "terms and members, say how many items it has, and quote one. Say how many outliers there are: they are often "
        "the news. Call deduplicate and say how many items repeat another."
    ) + _appended_texts(values, "texts")


def _difference_message(values: Values) -> str:
    return (
        f"Compare two versions of a list of requirements. Call align with {_input(values, 'old', 'left')} and "
        f"{_input(values, 'new', 'right')}. Report what was dropped (left_only), what is new (right_only), and what "
        "changed: read every pair under changed word for word, with what differs names, since a changed number or a "
        "'not' barely moves the score." + _appended_texts(values, "old", "Old") + _appended_texts(values, "new", "New")
    )


def _context_message(values: Values) -> str:
    query = f", query set to the question {values['question']!r}" if "question" in values else ""
    budget = values.get("max_tokens", "1000")
    return (
        f"Choose what to keep of {_input(values, 'texts')}. Call condense with max_tokens={budget}{query}. Then give "
        "its text word for word, and say what share of all it stands for (coverage) and what kind of text was left out."
    ) + _appended_texts(values, "texts")


def _is_source(value: str) -> bool:
    """Return whether a value is a path or the name of a collection, rather than texts."""
    line = value.strip()
    if "\n" in line or line.startswith("[") or len(line) > _MAX_PATH_CHARACTERS:
        return False
    return " " not in line or bool(_PATH.search(line))


def _input(values: Values, argument: str, side: str = "") -> str:
    """Return the argument that the model is to pass: a source by its name, or the texts appended to the message."""
    parameter = f"{side}_source" if side else "source"
    if _is_source(values[argument]):
        return f"{parameter}={values[argument].strip()!r}"
    return f"the list below as {side or 'texts'}"


def _appended_texts(values: Values, argument: str, title: str = "") -> str:
    """Return the texts that the user filled in, to append to the message; empty for a source."""
    if _is_source(values[argument]):
        return ""
    return f"\n\n{title}:\n{values[argument]}" if title else f"\n\n{values[argument]}"


def _argument(name: str, description: str, *, required: bool = False) -> PromptArgument:
    return PromptArgument(name=name, description=description, required=required)


_PROMPTS = (
    ServedPrompt(
        Prompt(
            name="find_duplicates",
            title="Find duplicates in a list",
            description="Which texts say the same, and which of each to keep",
            arguments=[
                _argument("texts", _TEXTS_HELP, required=True),
                _argument("keep", "which of the duplicates stays: longest (default) or first"),
            ],
        ),
        _duplicates_message,
        ("deduplicate",),
        {"keep": ("longest", "first")},
    ),
    ServedPrompt(
        Prompt(
            name="sort_feedback",
            title="Sort feedback into themes",
            description="What people write about, how often, with a quote each",
            arguments=[
                _argument("texts", _TEXTS_HELP, required=True),
                _argument("themes", "how many themes; by default as many as are found"),
            ],
        ),
        _themes_message,
        ("cluster", "deduplicate"),
        {"themes": tuple(map(str, range(2, 13)))},
    ),
    ServedPrompt(
        Prompt(
            name="diff_requirements",
            title="Compare two lists of requirements",
            description="What was dropped, added and changed, seen through rewording",
            arguments=[
                _argument("old", f"the old version, {_TEXTS_HELP}", required=True),
                _argument("new", f"the new version, {_TEXTS_HELP}", required=True),
            ],
        ),
        _difference_message,
        ("align",),
    ),
    ServedPrompt(
        Prompt(
            name="choose_context",
            title="Choose what to keep in context",
            description="The texts that say most within a budget of tokens",
            arguments=[
                _argument("texts", f"{_TEXTS_HELP}, or one long text", required=True),
                _argument("max_tokens", "how many tokens may stay (default 1000)"),
                _argument("question", "what the texts to keep should answer; by default the most typical are kept"),
            ],
        ),
        _context_message,
        ("condense",),
        {"max_tokens": ("1000", "500", "2000", "4000", "8000")},
    ),
)


def served_prompts(tools: Container[str]) -> dict[str, ServedPrompt]:
    """Return the prompts whose tools are all served, by name, in the order of ``prompts/list``."""
    return {prompt.entry.name: prompt for prompt in _PROMPTS if all(tool in tools for tool in prompt.tools)}
