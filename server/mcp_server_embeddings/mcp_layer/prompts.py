"""Ready-made requests for common jobs, which a person picks in the client."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from mcp_types import Prompt, PromptArgument

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.errors import InputError

Given = Mapping[str, str]
"""What the person filled in, by argument; blank ones left out."""

_LIST = "one text a line, or a JSON list"


@dataclass(frozen=True, slots=True)
class ServedPrompt:
    """One prompt.

    Attributes:
        listed: The entry of ``prompts/list``.
        text: The message to the model.
        tools: What the message tells the model to call; a prompt is served with all of them or not at all.
        choices: What a client may offer for an argument; the only values it takes, unless they are numbers.
    """

    listed: Prompt
    text: Callable[[Given], str]
    tools: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def message(self, given: Given) -> str:
        """The message with the arguments filled in.

        Raises:
            InputError: An argument is missing, unknown or not allowed.
        """
        arguments = {argument.name: argument for argument in self.listed.arguments or []}
        filled = {name: value for name, value in given.items() if value.strip()}
        for name in filled:
            if name not in arguments:
                raise InputError(f"prompt {self.listed.name!r} has no argument {name!r}; {nearest(name, arguments)}")
        for name, argument in arguments.items():
            if argument.required and name not in filled:
                raise InputError(f"prompt {self.listed.name!r} needs {name!r}: {argument.description}")
        for name, choices in self.choices.items():
            _check_choice(name, filled.get(name, choices[0]), choices)
        return self.text(filled)

    def completions(self, argument: str, begun: str) -> list[str]:
        """The choices that begin as the person has begun, in order."""
        return [choice for choice in self.choices.get(argument, ()) if choice.startswith(begun.strip().lower())]


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if choices[0].isdecimal():
        if not value.isdecimal() or int(value) < 1:
            raise InputError(f"{name} is {value!r}; allowed: a whole number from 1, such as {choices[0]}")
    elif value not in choices:
        raise InputError(f"{name} is {value!r}; allowed: {', '.join(choices)}")


def _duplicates(given: Given) -> str:
    keep = given.get("keep", "longest")
    return (
        f"Find the duplicates in the list below. Call deduplicate with all texts and keep={keep}. Look at "
        "the lowest scores of each group: if those texts do not say the same, call it again with a threshold above "
        "them. Then show what stays, what goes and why, by position, and ask before anything is deleted.\n\n"
        f"{given['texts']}"
    )


def _themes(given: Given) -> str:
    number = f" and clusters={given['themes']}" if "themes" in given else ""
    return (
        f"Sort the feedback below into themes. Call deduplicate first and leave the repeats out, then cluster with "
        f"the rest{number}. Name each theme in a few words from its exemplar and terms, say how many texts it "
        "has, repeats included, and quote one. List the outliers apart: they are often the news.\n\n"
        f"{given['texts']}"
    )


def _difference(given: Given) -> str:
    return (
        "Compare two versions of a list of requirements. Call align with the old ones as left and the new ones as "
        "right. Report what was dropped (only left), what is new (only right), and which matches changed in meaning: "
        "read every match below the band 'same' word for word, since a changed number or a 'not' hardly moves the "
        f"score.\n\nOld:\n{given['old']}\n\nNew:\n{given['new']}"
    )


def _context(given: Given) -> str:
    query = f", query set to the question {given['question']!r}" if "question" in given else ""
    budget = given.get("max_tokens", "1000")
    return (
        f"Choose what to keep of the texts below. Call condense with max_tokens={budget}{query}. "
        "Then give the selected texts word for word in their order, and say what share of all they stand for and what "
        f"kind of text was left out.\n\n{given['texts']}"
    )


def _argument(name: str, description: str, *, required: bool = False) -> PromptArgument:
    return PromptArgument(name=name, description=description, required=required)


_ALL = (
    ServedPrompt(
        Prompt(
            name="find_duplicates",
            title="Find duplicates in a list",
            description="Which texts say the same, and which of each to keep",
            arguments=[
                _argument("texts", _LIST, required=True),
                _argument("keep", "which of the duplicates stays: longest (default) or first"),
            ],
        ),
        _duplicates,
        ("deduplicate",),
        {"keep": ("longest", "first")},
    ),
    ServedPrompt(
        Prompt(
            name="sort_feedback",
            title="Sort feedback into themes",
            description="What people write about, how often, with a quote each",
            arguments=[
                _argument("texts", _LIST, required=True),
                _argument("themes", "how many themes; left out: as many as there are"),
            ],
        ),
        _themes,
        ("deduplicate", "cluster"),
        {"themes": tuple(map(str, range(2, 13)))},
    ),
    ServedPrompt(
        Prompt(
            name="diff_requirements",
            title="Compare two lists of requirements",
            description="What was dropped, added and changed, seen through rewording",
            arguments=[
                _argument("old", f"the old version, {_LIST}", required=True),
                _argument("new", f"the new version, {_LIST}", required=True),
            ],
        ),
        _difference,
        ("align",),
    ),
    ServedPrompt(
        Prompt(
            name="choose_context",
            title="Choose what to keep in context",
            description="The texts that say most within a budget of tokens",
            arguments=[
                _argument("texts", f"{_LIST}, or one long text", required=True),
                _argument("max_tokens", "how many tokens may stay (default 1000)"),
                _argument("question", "what matters; left out: what is typical"),
            ],
        ),
        _context,
        ("condense",),
        {"max_tokens": ("1000", "500", "2000", "4000", "8000")},
    ),
)


def served_prompts(tools: Container[str]) -> dict[str, ServedPrompt]:
    """The prompts whose tools are all served, by name, in the order of ``prompts/list``."""
    return {prompt.listed.name: prompt for prompt in _ALL if all(tool in tools for tool in prompt.tools)}
