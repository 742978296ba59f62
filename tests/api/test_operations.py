"""Commands in containers, registry logins, and the daemon's own log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from haloy.api.server_log import WAITING_LIMIT, entry, follow_log
from haloy.api.streaming import EventWriter
from haloy.daemon.logs import LogRecord, ServerLog
from haloy.errors import Conflict, EngineUnavailable
from tests.api.test_server import Server, exchange, running, same_headers
from tests.support.api import TOKEN

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    yield found
    found.database.close()


# --- exec -----------------------------------------------------------------------


def test_exec_as_captured(server: Server) -> None:
    """Same keys; the head goes out before the command has ended."""
    container = running(server, b"")
    answer = server.ask("POST", "/v1/exec/hello", {"command": ["echo", "hi"]})
    found = exchange("POST /v1/exec/hello")
    same_headers(answer, found)
    (result,) = answer.json["results"]
    captured = json.loads(found["response"]["body"])["results"][0]
    assert result.keys() == captured.keys()
    assert result == {
        "containerId": container[:12],
        "exitCode": 0,
        "stdout": "echo hi",
        "stderr": "",
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body"),
        ({"command": []}, "command"),
        ({"command": "ls"}, "list of texts"),
        ({"command": [1]}, "command[0]"),
        ({"command": ["a\0b"]}, "command[0]"),
        ({"command": ["x"], "containerId": 5}, "containerId"),
        ({"command": ["x" * 70_000] * 2}, "128 KiB"),
        ({"command": ["x"], "odd": 5}, "odd: unknown field"),
        ({"command": ["x"], "containerId": "a", "allContainers": True}, "not both"),
    ],
)
def test_odd_commands(server: Server, body: object, words: str) -> None:
    """400 in one line."""
    running(server, b"")
    answer = server.ask("POST", "/v1/exec/hello", body)
    assert (answer.status, words in answer.text) == (400, True)


def test_exec_where_nothing_runs(server: Server) -> None:
    """404 for an unknown app."""
    assert server.ask("POST", "/v1/exec/no", {"command": ["x"]}).status == 404


def test_exec_that_fails_is_a_result(server: Server) -> None:
    """One container's trouble does not hide what the others said (A20: no paths)."""
    running(server, b"")
    server.engine.failures["exec"] = Conflict("/run/x/y.pid: killed after 60 s")
    answer = server.ask(
        "POST", "/v1/exec/hello", {"command": ["x"], "allContainers": True}
    )
    (result,) = answer.json["results"]
    assert (result["exitCode"], result["error"]) == (-1, "…: killed after 60 s")


# --- registries -----------------------------------------------------------------


def test_registry_logins(server: Server) -> None:
    """Verified, stored 0600, listed without passwords, forgotten on wish (D20)."""
    assert server.ask("GET", "/v1/registries").json == {"registries": []}
    server.engine.passwords["ghcr.example"] = "p"
    body = {"server": "https://GHCR.example/v1/", "username": "bob", "password": "p"}
    answer = server.ask("POST", "/v1/registries/login", body)
    assert answer.json == {"server": "ghcr.example", "username": "bob"}
    path = server.folder / "registries.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    listed = server.ask("GET", "/v1/registries")
    assert listed.json["registries"] == [{"server": "ghcr.example", "username": "bob"}]
    out = server.ask("POST", "/v1/registries/logout", {"server": "ghcr.example"})
    assert (out.status, out.text) == (204, "")
    gone = server.ask("POST", "/v1/registries/logout", {"server": "ghcr.example"})
    assert gone.status == 404
    assert "ghcr.example were not found" in gone.text


def test_login_that_fails_stores_nothing(server: Server) -> None:
    """400 with the registry's reason."""
    body = {"server": "ghcr.example", "username": "bob", "password": "wrong"}
    answer = server.ask("POST", "/v1/registries/login", body)
    assert answer.status == 400
    assert "failed to verify registry credentials" in answer.text
    assert not (server.folder / "registries.yaml").exists()


def test_registry_that_does_not_answer(server: Server) -> None:
    """It is the registry's fault (400) while Docker answers, else Docker's (503)."""
    body = {"server": "ghcr.example", "username": "bob", "password": "p"}
    late = EngineUnavailable("Docker did not answer within 20 s")
    server.engine.failures["login"] = late
    answer = server.ask("POST", "/v1/registries/login", body)
    assert (answer.status, "ghcr.example did not answer" in answer.text) == (400, True)
    server.engine.failures |= {"login": late, "ping": late}
    assert server.ask("POST", "/v1/registries/login", body).status == 503
    assert not (server.folder / "registries.yaml").exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body"),
        ({"server": ""}, "server"),
        ({"server": "a", "username": "b"}, "password"),
        ({"server": "a", "username": "b", "password": "c", "x": 1}, "x: unknown"),
    ],
)
def test_odd_logins(server: Server, body: object, words: str) -> None:
    """The field is named."""
    answer = server.ask("POST", "/v1/registries/login", body)
    assert (answer.status, words in answer.text) == (400, True)


def test_routes_of_registries_ask_for_a_token(server: Server) -> None:
    """Mounted routes have the same rules."""
    assert server.ask("GET", "/v1/registries", token="wrong").status == 401
    assert server.ask("GET", "/v1/registries/nope").status == 404


# --- server log -----------------------------------------------------------------


def open_log(server: Server, query: str = "") -> list[bytes]:
    pieces: list[bytes] = []
    waiting = server.treq.request(
        "GET",
        f"http://x/v1/server-logs{query}",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    waiting.addCallback(lambda response: server.treq.collect(response, pieces.append))
    server.treq.flush()
    return pieces


def events(pieces: list[bytes]) -> list[dict[str, Any]]:
    text = b"".join(pieces).decode()
    return [
        json.loads(one.partition("data: ")[2])
        for one in text.split("\n\n")
        if "data: " in one
    ]


def line(message: str, **fields: str) -> LogRecord:
    return LogRecord("INFO", message, NOW, fields)


def test_log_replays_and_follows(server: Server) -> None:
    """The newest lines first, then what comes; requests only on wish (A18)."""
    server.log.record(line("old"))
    quiet, chatty = open_log(server), open_log(server, "?access-logs=true")
    server.log.record(line("request", method="GET"))
    server.log.record(line("new"))
    server.treq.flush()
    assert [one["message"] for one in events(quiet)] == ["old", "new"]
    assert [one["message"] for one in events(chatty)] == ["old", "request", "new"]


class Stuck:
    """A reader that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.room: Deferred[None] = Deferred()

    async def send(self, data: bytes) -> None:
        await self.room
        self.taken.append(json.loads(data[6:]))


def test_reader_that_waits_costs_a_fixed_amount() -> None:
    """E8, A2: a flood drops the oldest lines for that reader and says so."""
    log, reader = ServerLog(), Stuck()
    log.record(line("first"))
    following = Deferred.fromCoroutine(
        follow_log(log, cast(EventWriter, reader), access=False)
    )
    for number in range(WAITING_LIMIT + 50):
        log.record(line(f"line {number}"))
    reader.room.callback(None)
    told = [one["message"] for one in reader.taken]
    assert told[:2] == ["first", "50 lines were left out: this reader is too slow"]
    assert told[2] == "line 50"
    assert len(told) == WAITING_LIMIT + 2
    following.addErrback(lambda failure: failure.trap(CancelledError))
    following.cancel()
    assert not log.followed


def test_log_entries_have_the_keys_of_the_go_client() -> None:
    """An id shorter than eight characters would end it."""
    found = entry(line("m", deployment="01aaaaaaaa", app="shop", x="1"))
    assert found["deploymentID"] == "01aaaaaaaa"
    assert (found["appName"], found["fields"]) == ("shop", {"app": "shop", "x": "1"})
    assert "deploymentID" not in entry(line("m", deployment="short"))
    assert entry(line("m")).keys() == {"level", "message", "timestamp"}
