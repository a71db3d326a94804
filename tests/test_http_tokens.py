"""Bearer tokens: who may call, and that a token reads nothing of another's."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import openai
import pytest

from http_server import HttpServer
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.collection_resources import TEMPLATES
from mcp_server_embeddings.mcp_layer.http.app import build_app
from mcp_server_embeddings.mcp_layer.http.limits import ProcessLoad
from mcp_server_embeddings.mcp_layer.http.tokens import new_token
from mcp_server_embeddings.mcp_layer.resources import RESOURCES
from mcp_server_embeddings.tools.declaration import declared_tools
from postgres_server import own_database
from test_cli import run

SECRETS = {"first": "The kumquat harvest is hidden below the lighthouse.", "second": "Nobody knows of the kumquats."}
COLLECTION = "quokkas"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "search": {"query": "the harvest of kumquats"},
    "read": {"ids": ["first"]},
    "classify": {"labels": ["fruit", "buildings"]},
    "cluster": {"clusters": 1},
    "condense": {"count": 2},
    "similarity": {"right": ["fruit"]},
    "align": {"right": ["fruit"]},
    "collection_add": {"collection": "copied"},
}
"""What each tool needs besides a source."""


@dataclass(frozen=True)
class Team:
    """A server for Alice, Bob and one who may read the metrics; a folder that Alice and Bob share."""

    server: HttpServer
    folder: Path
    tokens: Mapping[str, str]
    database: bool

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    def call(self, name: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self.ask(name, "tools/call", name=tool, arguments=arguments)["result"]
        return result

    def ask(self, who: str, method: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.server.post_modern(method, params, self.headers(who)).json()
        return answer


def write_tokens(path: Path, **lines: str) -> dict[str, str]:
    """A file of tokens with more lines for each name; the tokens."""
    made = {name: new_token(name) for name in lines}
    path.write_text("\n".join(f"{entry}\n{lines[name]}\n" for name, (_, entry) in made.items()), encoding="utf-8")
    path.chmod(0o600)
    return {name: token for name, (token, _) in made.items()}


@pytest.fixture(scope="module", params=["files", "postgres"])
def team(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    store = ["--store", own_database(folder)] if request.param == "postgres" else []
    for name in ("alice", "output", "shared", "data"):
        (folder / name).mkdir()
    (folder / "alice" / "secret.csv").write_text(
        "id,text\n" + "".join(f"{key},{text}\n" for key, text in SECRETS.items()), encoding="utf-8"
    )
    (folder / "shared" / "handbook.md").write_text("# Leave\n\nThirty days of leave a year.\n", encoding="utf-8")
    tokens = write_tokens(
        folder / "tokens.toml",
        alice=f'allow_dir = ["{folder}/alice", "{folder}/shared"]\noutput_dir = "{folder}/output"',
        bob=f'allow_dir = ["{folder}/shared"]',
        watcher="metrics = true",
    )
    arguments = ("--tokens", str(folder / "tokens.toml"), "--host", "0.0.0.0", "--stateful")
    with HttpServer(folder / "data", *arguments, *store) as server:
        team = Team(server, folder, tokens, bool(store))
        stored = team.call("alice", "collection_add", {"collection": COLLECTION, "texts": SECRETS})
        assert stored["structuredContent"]["size"] == len(SECRETS)
        saved = team.call("alice", "deduplicate", {"source": COLLECTION, "save_as": "found.csv"})
        assert Path(saved["structuredContent"]["file"]["path"]) == folder / "output" / "found.csv"
        yield team


def of_alice(team: Team) -> list[str]:
    """All that is hers, as a source."""
    data = team.folder / "data" / "tokens" / "alice"
    return [
        COLLECTION,
        f"{team.folder}/alice",
        f"{team.folder}/alice/*.csv",
        f"{team.folder}/alice/secret.csv#text",
        f"{team.folder}/shared/../alice/secret.csv#text",
        "../alice/secret.csv#text",
        f"{team.folder}/output/found.csv#text",
        f"{data}",
        f"{data}/collections.sqlite",
        f"{team.folder}/tokens.toml#lines",
    ]


def test_every_tool_refuses_what_is_of_another_name_and_serves_it_to_its_own(team: Team) -> None:
    tried = set()
    for name, tool in declared_tools().items():
        for parameter in tool.arguments.model_fields:
            if parameter.endswith("source"):
                given = {key: value for key, value in ARGUMENTS.get(name, {}).items() if f"{key}_source" != parameter}
                if parameter == "right_source":
                    given["left"] = given.pop("right", None) or ["fruit"]
                for source in of_alice(team):
                    refused = team.call("bob", name, {**given, parameter: source})
                    assert refused.get("isError"), (name, parameter, source)
                    assert "kumquat" not in json.dumps(refused).lower()
                served = {**given, parameter: f"{team.folder}/alice/secret.csv#text"}
                assert not team.call("alice", name, served).get("isError"), (name, parameter)
                tried.add(name)
    assert tried == set(declared_tools()) - {"status", "collection_remove"}


def test_status_and_lists_name_nothing_of_another(team: Team) -> None:
    asked = [team.call("bob", "status", {})]
    asked += [team.ask("bob", method) for method in ("tools/list", "resources/list", "prompts/list")]
    asked += [team.ask("bob", "resources/read", uri=uri) for uri in RESOURCES]
    assert not any(COLLECTION in json.dumps(answer) or "/alice" in json.dumps(answer) for answer in asked)
    assert COLLECTION in json.dumps(team.call("alice", "status", {}))
    assert COLLECTION in json.dumps(team.ask("alice", "resources/list"))


def test_resources_and_completions_of_another_do_not_exist(team: Team) -> None:
    for template in TEMPLATES:
        uri = template.uri_template.replace("{name}", COLLECTION).replace("{+id}", "first")
        assert "kumquat" in json.dumps(team.ask("alice", "resources/read", uri=uri))
        assert set(team.ask("bob", "resources/read", uri=uri)) == {"jsonrpc", "id", "error"}
    begun = {
        "ref": {"type": "ref/resource", "uri": TEMPLATES[0].uri_template},
        "argument": {"name": "name", "value": COLLECTION[:2]},
    }
    assert team.ask("alice", "completion/complete", **begun)["result"]["completion"]["values"] == [COLLECTION]
    assert team.ask("bob", "completion/complete", **begun)["result"]["completion"]["values"] == []


def test_what_another_stored_cannot_be_changed(team: Team) -> None:
    assert team.call("bob", "collection_remove", {"collection": COLLECTION, "all": True}).get("isError")
    mine = team.call("bob", "collection_add", {"collection": COLLECTION, "texts": {"first": "of Bob"}})
    assert mine["structuredContent"]["size"] == 1
    assert "of Bob" in json.dumps(team.call("bob", "read", {"source": COLLECTION, "ids": ["first"]}))
    assert "kumquat" in json.dumps(team.call("alice", "read", {"source": COLLECTION, "ids": ["first"]}))
    team.call("bob", "collection_remove", {"collection": COLLECTION, "all": True})
    assert team.call("alice", "read", {"source": COLLECTION, "ids": ["second"]})["structuredContent"]["items"]


def test_a_folder_of_several_names_is_indexed_for_each(team: Team) -> None:
    asked = {"source": f"{team.folder}/shared", "query": "how many days of leave"}
    for name in ("alice", "bob", "alice"):
        found = team.call(name, "search", asked)["structuredContent"]
        assert [hit["id"] for hit in found["hits"]] == ["handbook.md"]


def test_a_session_is_only_for_the_token_that_began_it(team: Team) -> None:
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    begun = team.server.post("initialize", client, team.headers("alice"))
    session = {"Mcp-Session-Id": begun.headers["mcp-session-id"]}
    for name, status in {"bob": 404, "alice": 200}.items():
        assert team.server.post("tools/list", {}, {**team.headers(name), **session}).status_code == status


def test_the_python_client_calls_with_a_token(team: Team) -> None:
    async def session() -> None:
        for mode in ("legacy", "2026-07-28"):
            async with team.server.client(mode, team.tokens["alice"]) as client:
                assert COLLECTION in (await client.call_tool("status", {})).model_dump_json()

    anyio.run(session)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer mse_wrong",
        "Bearer é",
        "Basic {alice}",
        "{alice}",
        "Bearer {alice}x",
        "bearer\t{alice}",
    ],
)
def test_without_a_valid_token_nothing_is_served(team: Team, header: str) -> None:
    sent = {b"Authorization": header.format(alice=team.tokens["alice"]).encode("latin-1")} if header else {}
    for path in ("/mcp", "/", "/nothing", "/v1/embeddings"):
        for method in ("GET", "POST", "DELETE"):
            answer = team.server.http.request(method, path, headers=sent)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert "alice" not in answer.text


def test_only_a_token_for_metrics_reads_them(team: Team) -> None:
    expected = {"alice": 403, "bob": 403, "watcher": 200}
    for name, status in expected.items():
        assert team.server.http.get("/metrics", headers=team.headers(name)).status_code == status
    assert team.server.http.get("/metrics").status_code == 401
    read = team.server.http.get("/metrics", headers=team.headers("watcher")).text
    assert 'mcp_embeddings_requests_total{name="alice",path="/mcp",status="200"}' in read
    assert not any(token in read for token in team.tokens.values())
    for path in ("/healthz", "/readyz"):
        assert team.server.http.get(path).text in ("ok\n", "ready\n", "warming\n")


def test_the_data_of_each_name_is_private_to_the_process(team: Team) -> None:
    team.call("bob", "collection_add", {"collection": "private", "texts": {"first": "of Bob"}})
    folder = team.folder / "data" / "tokens"
    assert sorted(path.name for path in folder.glob("*")) == ([] if team.database else ["alice", "bob"])
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


def test_the_command_makes_a_token_and_its_entry() -> None:
    _, _, token, _, _, _, *entry, _ = run("token", "alice").stdout.split("\n")
    assert token.startswith("mse_")
    assert len(token) == 47
    assert entry == ["[alice]", f'sha256 = "{sha256(token.encode()).hexdigest()}"']
    assert new_token("alice") != new_token("alice")


HASH = 'sha256 = "' + "0" * 64 + '"'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "'{path}' has no entry; the command token NAME makes one"),
        ("[alice\n", "'{path}' is not TOML: "),
        (f"[a]\n{HASH}\n[a]\n{HASH}\n", "'{path}' is not TOML: "),
        ('alice = "token"\n', "alice: input should be a valid dictionary"),
        ("[alice]\nrate = 5\n", "alice.sha256: field required"),
        ('[alice]\nsha256 = "mse_token"\n', "alice.sha256: string should match pattern"),
        (f"[alice]\n{HASH}\nrate = 0\n", "alice.rate: input should be greater than or equal to 1"),
        (f"[alice]\n{HASH}\nadmin = true\n", "alice.admin: extra inputs are not permitted"),
        (f'[alice]\n{HASH}\nallow_dir = ["notes"]\n', "alice: 'notes' is relative; give an absolute path"),
        (f'[alice]\n{HASH}\nallow_dir = ["/nowhere"]\n', "alice: allow-dir '/nowhere' is not a directory"),
        (f'[alice]\n{HASH}\nallow_dir = ["/"]\n', "alice: '/' and the data folder overlap; give another folder"),
        (f'[alice]\n{HASH}\noutput_dir = "{{data}}/tokens/bob"\n', "alice: '{data}/tokens/bob' and the data folder"),
        (f"[alice]\n{HASH}\n[bob]\n{HASH}\n", "'alice' and 'bob' have the same token; make another"),
        (f'["../alice"]\n{HASH}\n', "'../alice' is not a valid name, which also names a folder; use up to 63 of"),
        (f"[Alice]\n{HASH}\n", "'Alice' is not a valid name"),
        (f"[con]\n{HASH}\n", "'con' is not a valid name"),
    ],
)
def test_a_wrong_file_of_tokens_ends_the_start(content: str, sentence: str, tmp_path: Path) -> None:
    path, data = tmp_path / "tokens.toml", tmp_path / "data"
    path.write_text(content.replace("{data}", str(data)), encoding="utf-8")
    said = refused(path, data)
    assert said.startswith(f"tokens: {sentence.format(path=path, data=data)}")
    assert "0" * 64 not in said
    assert "mse_" not in said


def test_what_one_name_writes_another_may_not_read(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    write_tokens(
        tmp_path / "t.toml", alice=f'output_dir = "{tmp_path}/shared/x"', bob=f'allow_dir = ["{tmp_path}/shared"]'
    )
    assert refused(tmp_path / "t.toml", tmp_path / "data").startswith("tokens: bob could read what alice writes")


def test_the_file_of_tokens_must_be_its_owners_and_be_there(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    assert refused(path, tmp_path).startswith(f"tokens: {str(path)!r} cannot be read (No such file")
    write_tokens(path, alice="")
    path.chmod(0o620)
    assert refused(path, tmp_path) == f"tokens: others can write to {str(path)!r}; chmod go-w it"


def test_with_tokens_folders_are_given_for_each_name(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens.toml", alice="")
    said = refused(tmp_path / "tokens.toml", tmp_path / "data", allow_dir=(tmp_path,))
    assert said == "with tokens, set allow_dir and output_dir in the entries of the tokens file"


def refused(path: Path, data: Path, **more: Any) -> str:
    """The one sentence of a start with a file of tokens."""
    settings = Settings(transport="http", tokens=path, data_dir=data, **more)
    with pytest.raises(ConfigurationError) as raised:
        build_app(settings, Service(Engine(settings)), ProcessLoad())
    return str(raised.value)


def test_programs_that_speak_openais_api_need_a_token_too(team: Team, engine: Engine) -> None:
    base = team.server.url.replace("/mcp", "/v1")
    with openai.OpenAI(base_url=base, api_key=team.tokens["bob"], max_retries=0) as client:
        found = client.embeddings.create(model="all-MiniLM-L6-v2", input=["Apple", "Orange"])
        served = [model.id for model in client.models.list()]
    vectors = engine.embedder().embed(["Apple", "Orange"]).vectors
    np.testing.assert_allclose([entry.embedding for entry in found.data], vectors, atol=1e-5)
    assert served == ["sentence-transformers/all-MiniLM-L6-v2"]
    with openai.OpenAI(base_url=base, api_key="mse_made_up", max_retries=0) as client:
        for path in ("/embeddings", "/rerank"):
            with pytest.raises(openai.AuthenticationError):
                client.post(path, cast_to=object, body={"input": "Apple"})
