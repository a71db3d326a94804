"""The command line: what it accepts, what it refuses, and in which words."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import anyio
import pytest

from calls import client
from fakes import FakeEncoder
from mcp_server_embeddings.cli.options import Parser, add_settings, settings_from
from mcp_server_embeddings.config import DEFAULT_MODEL, Settings, flag, variable
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.tools.declaration import declared_tools
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment

OPTION_AND_VARIABLE: dict[str, tuple[str, object, str, object]] = {
    "model": ("a/first", "a/first", "a/second", "a/second"),
    "download": ("", True, "0", False),
    "device": ("cuda:1", "cuda:1", "mps", "mps"),
    "engine": ("reference", "reference", "compiled", "compiled"),
    "engine_url": ("http://a.example/v1", "http://a.example/v1", "https://b.example", "https://b.example"),
    "engine_model": ("first", "first", "second", "second"),
    "precision": ("bf16", "bf16", "int8", "int8"),
    "threads": ("2", 2, "3", 3),
    "cache_size": ("1", 1, "2000", 2000),
    "no_cache": ("", True, "0", False),
    "idle_unload": ("0", 0, "2.5", 2.5),
    "reranker": ("a/first", "a/first", "a/second", "a/second"),
    "rerank_ms": ("0", 0, "1000", 1000),
    "tools": ("embed, status", ("embed", "status"), "similarity", ("similarity",)),
    "exclude_tools": ("embed", ("embed",), "status,similarity", ("status", "similarity")),
    "allow_dir": ("/", (Path("/"),), "/tmp", (Path("/tmp"),)),
    "data_dir": ("/first", Path("/first"), "/second", Path("/second")),
    "store": ("postgresql://a/b", "postgresql://a/b", "postgres:///c", "postgres:///c"),
    "output_dir": ("/first", Path("/first"), "/second", Path("/second")),
    "cache_dir": ("/first", Path("/first"), "/second", Path("/second")),
    "log_level": ("debug", "debug", "error", "error"),
    "engine_process": ("own", "own", "shared", "shared"),
    "idle_exit": ("0", 0, "2.5", 2.5),
    "transport": ("http", "http", "stdio", "stdio"),
    "host": ("::1", "::1", "localhost", "localhost"),
    "port": ("0", 0, "80", 80),
    "allowed_host": ("a.example, b.example", ("a.example", "b.example"), "c.example", ("c.example",)),
    "tokens": ("/first", Path("/first"), "/second", Path("/second")),
    "stateful": ("", True, "0", False),
}
"""For each setting: text and value from the option, text and value from the variable."""

REMOTE = {
    "MCP_EMBEDDINGS_ENGINE": "openai",
    "MCP_EMBEDDINGS_ENGINE_URL": "http://c.example",
    "MCP_EMBEDDINGS_ENGINE_MODEL": "third",
}
"""Settings that go together."""


OPENAI = ("--engine", "openai", "--engine-model", "a")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, with nothing to read."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=client_environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def refusal(*arguments: str, **variables: str) -> str:
    """The one sentence of a wrong start: status 2, and nothing on the wire."""
    finished = run(*arguments, **variables)
    assert finished.returncode == 2, finished.stderr
    assert finished.stdout == ""
    assert finished.stderr.startswith("mcp-server-embeddings: ")
    assert finished.stderr.count("\n") == 1, finished.stderr
    return finished.stderr.removeprefix("mcp-server-embeddings: ").rstrip("\n")


def settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """What a command line and an environment amount to."""
    parser = Parser()
    add_settings(parser)
    return settings_from(parser.parse_args(arguments), environment)


def all_but(*names: str) -> list[str]:
    """The other tools, in the order in which they are served."""
    return [name for name in declared_tools() if name not in names]


def test_help_names_every_command_and_setting_and_the_form_of_the_variables() -> None:
    finished = run("--help")
    assert finished.returncode == 0
    assert finished.stderr == ""
    for field in fields(Settings):
        assert f"  {flag(field)}" in finished.stdout
    for command in ("serve", "pull", "models", "classify", "search", "status"):
        assert f"    {command} " in finished.stdout
    assert "MCP_EMBEDDINGS_LOG_LEVEL for --log-level" in finished.stdout


def test_version_is_that_of_the_distribution() -> None:
    finished = run("--version")
    assert finished.returncode == 0
    assert finished.stdout == f"mcp-server-embeddings {metadata.version('mcp-server-embeddings')}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--modle", "a/b"), "unknown option '--modle'; did you mean '--model'?"),
        (("serve", "--log-levle=info"), "unknown option '--log-levle'; did you mean '--log-level'?"),
        (("--thread", "2"), "unknown option '--thread'; did you mean '--threads'?"),
        (("pul", "a/b"), "unknown command 'pul'; did you mean 'pull'?"),
        (("model",), "unknown command 'model'; did you mean 'models'?"),
        (
            ("xyz",),
            "unknown command 'xyz'; known: align, classify, cluster, collections, compile, ",
        ),
        (("pull",), "the following arguments are required: MODEL. Example: mcp-server-embeddings pull BAAI/"),
        (("pull", "a/b", "c/d"), "unexpected argument 'c/d'; see --help"),
        (("serve", "a/b"), "unexpected argument 'a/b'; see --help"),
        (("models", "bge"), "unexpected argument 'bge'; see --help"),
        (("--device", "cpus"), "device 'cpus' is unknown; did you mean 'cpu'?"),
        (("--device", "tpu"), "device 'tpu' is unknown; "),
        (("--device", "cuda:one"), "device 'cuda:one' is unknown; did you mean 'cuda'?"),
        (("--log-level", "warn"), "log-level 'warn' is unknown; did you mean 'warning'?"),
        (("--tools", "similrity"), "tools: there is no tool or set 'similrity'; did you mean 'similarity'?"),
        (("--exclude-tools", "embd"), "exclude-tools: there is no tool or set 'embd'; did you mean 'embed'?"),
        (("--exclude-tools", "all"), "exclude-tools leaves no tool to serve; exclude fewer"),
        (("--tools", "embed", "--exclude-tools", "status"), "pass either tools or exclude-tools, not both"),
        (("--threads=-1",), "threads=-1 is outside 0 to 256"),
        (("--threads", "257"), "threads=257 is outside 0 to 256"),
        (("--threads", "two"), "--threads is 'two'; give a whole number"),
        (("--engine", "compield"), "engine 'compield' is unknown; did you mean 'compiled'?"),
        (("--engine", "openai"), "engine-url is empty; --engine openai needs --engine-url and --engine-model"),
        (("--engine-url", "http://a"), "engine-url is for --engine openai; pass that too, or leave engine-url out"),
        ((*OPENAI, "--engine-url", "a.example"), "engine-url 'a.example' is not a URL of HTTP; give one as http://"),
        ((*OPENAI, "--engine-url", "http://a:99999"), "engine-url 'http://a:99999' is not a URL of HTTP"),
        (
            (*OPENAI, "--engine-url", "http://me:secret@a"),
            "engine-url has more than scheme, host, port and path; leave",
        ),
        ((*OPENAI, "--engine-url", "http://a?key=b"), "engine-url has more than scheme, host, port and path; leave"),
        (
            (*OPENAI, "--engine-url", "http://a", "--precision", "int8"),
            "precision is for models of this machine; leave it out with --engine openai",
        ),
        (("--precision", "fp16"), "precision 'fp16' is unknown; did you mean 'bf16'?"),
        (("--cache-size", "0"), "cache-size=0 is outside 1 to 1000000"),
        (("--idle-unload", "nan"), "idle-unload=nan is outside 0 to 10080"),
        (("--idle-unload", "soon"), "--idle-unload is 'soon'; give a number"),
        (("compile", "/nowhere"), "the model folder '/nowhere' does not exist"),
        (("compile", "--threads", "2", "/nowhere"), "the model folder '/nowhere' does not exist"),
        (("--model", "/nowhere", "--threads=2", "compile"), "the model folder '/nowhere' does not exist"),
        (("--model", " "), "model is empty; give a Hugging Face id or a folder"),
        (("--model",), "argument --model: expected one argument"),
    ],
)
def test_a_wrong_option_or_command_ends_with_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    assert refusal(*arguments).startswith(sentence)


@pytest.mark.parametrize("command", ["serve", "pull", "compile", "models"])
def test_an_unknown_variable_ends_every_command_with_the_nearest_name(command: str) -> None:
    arguments = (command, "a/b") if command == "pull" else (command,)
    assert refusal(*arguments, MCP_EMBEDDINGS_MODLE="a/b") == (
        "unknown environment variable 'MCP_EMBEDDINGS_MODLE'; did you mean 'MCP_EMBEDDINGS_MODEL'?"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MCP_EMBEDDINGS_THREADS", "many", "MCP_EMBEDDINGS_THREADS is 'many'; give a whole number"),
        ("MCP_EMBEDDINGS_THREADS", "-1", "threads=-1 is outside 0 to 256"),
        ("MCP_EMBEDDINGS_DOWNLOAD", "perhaps", "MCP_EMBEDDINGS_DOWNLOAD is 'perhaps'; give 1 or 0"),
        ("MCP_EMBEDDINGS_TOOLS", "embeds", "tools: there is no tool or set 'embeds'; did you mean 'embed'?"),
        ("MCP_EMBEDDINGS_LOG_LEVEL", "DEBUG", "log-level 'DEBUG' is unknown; known: debug, error, info, warning"),
    ],
)
def test_a_wrong_value_of_a_variable_ends_with_one_sentence(name: str, value: str, sentence: str) -> None:
    assert refusal(**{name: value}) == sentence


def test_without_options_and_variables_every_setting_has_its_default() -> None:
    assert settings([], {"PATH": "/bin"}) == Settings()
    assert Settings().model == DEFAULT_MODEL


def test_the_table_of_this_file_has_every_setting() -> None:
    assert list(OPTION_AND_VARIABLE) == [field.name for field in fields(Settings)]


@pytest.mark.parametrize("name", OPTION_AND_VARIABLE)
def test_an_option_wins_over_its_variable_and_a_variable_over_the_default(name: str) -> None:
    (field,) = (field for field in fields(Settings) if field.name == name)
    option_text, from_option, variable_text, from_variable = OPTION_AND_VARIABLE[name]
    others = REMOTE if name in ("engine_url", "engine_model") else {}
    environment = {**others, variable(field): variable_text}
    option = [flag(field), option_text] if option_text else [flag(field)]
    assert getattr(settings([], environment), name) == from_variable
    assert getattr(settings(option, environment), name) == from_option
    assert getattr(settings(option, others), name) == from_option


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("TRUE", True), ("yes", True), ("on", True), ("0", False), ("no", False), ("", False)],
)
def test_a_switch_reads_the_usual_words(text: str, value: bool) -> None:
    assert settings([], {"MCP_EMBEDDINGS_DOWNLOAD": text}).download is value


@pytest.mark.parametrize(
    ("arguments", "variables", "served"),
    [
        (("--tools", "similarity,embed"), {}, ["embed", "similarity"]),
        (("--tools=status",), {}, ["status"]),
        (("--tools", "core"), {}, ["embed", "search", "similarity", "status"]),
        (("--tools", "core,align"), {}, ["embed", "search", "similarity", "status", "align"]),
        (("--exclude-tools", "core"), {}, all_but("embed", "similarity", "search", "status")),
        (
            (),
            {"MCP_EMBEDDINGS_EXCLUDE_TOOLS": "core, cluster, align"},
            all_but("embed", "similarity", "search", "status", "cluster", "align"),
        ),
        ((), {}, list(declared_tools())),
    ],
)
def test_only_the_wanted_tools_are_served_in_their_order(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], served: list[str]
) -> None:
    async def listed(engine: Engine) -> list[str]:
        async with client(engine) as connected:
            return [tool.name for tool in (await connected.list_tools()).tools]

    given = settings([*arguments, "--data-dir", str(tmp_path)], variables)
    with Engine(given, FakeEncoder().load) as engine:
        assert anyio.run(listed, engine) == served


@pytest.mark.slow
def test_a_tool_that_is_not_served_cannot_be_called(data_dir: Path) -> None:
    with ServerProcess(data_dir, "--tools", "status") as server:
        server.handshake()
        request = server.send("tools/call", server.call_params("embed", {"texts": ["a"]}))
        assert server.answer(request)["error"]["message"] == "there is no tool 'embed'; known: status"
