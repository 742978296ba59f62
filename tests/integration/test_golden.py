"""The captured exchanges, said again to our daemon on a real Docker.

C{tests/api/golden/} holds what the Go client and C{curl} said to the Go daemon, and
what it answered. Every request goes out as it was captured (but for the token and, by
the API's domain, the host); every answer has the same status line, the same headers
and the same body. More headers and more JSON keys are allowed. Masked are dates, ids
of containers, versions, free bytes, and the words of errors and log messages. What
differs besides is in L{DIFFERS}, with the reason.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.integration.site import Server, build, server
from tests.integration.talk import API, HEAD, plain, read_head, secure
from tests.support.dockerd import PrivateDocker
from tests.support.haloyd import TOKEN

pytestmark = [pytest.mark.docker, pytest.mark.slow]

GOLDEN = Path(__file__).parents[1] / "api/golden"
#: The last asks how an app is that is being stopped: each daemon at its own pace.
EXCHANGES = json.loads((GOLDEN / "exchanges.json").read_text())[:-1]
EDGES = json.loads((GOLDEN / "edges.json").read_text())

#: Status lines that are not as captured.
DIFFERS = {
    # A13, decisions "On the wire": whoever stops nothing is told so.
    "POST /v1/stop/unknown": "HTTP/1.1 404 Not Found",
    # Decisions: /health is never refused by rate.
    "GET /health": "HTTP/1.1 200 OK",
}
#: Never sent, for the page of somebody else to read (A19).
NO_CORS = "Access-Control-Allow-Origin"
#: How long a body is says its end; which of the two ways is no fact of the API.
FRAMING = ("Content-Length", "Transfer-Encoding")
#: Of one connection only: a proxy has its own.
HOP = (*FRAMING, "Connection", "Date")

#: JSON values that cannot be equal, by their key.
MASKED = {
    "haloyd", "haloy_proxy", "haloy_proxy_config_hash", "version", "availableBytes",
    "path", "containerId", "containerIds", "message", "timestamp", "fields", "error",
}  # fmt: skip
#: Keys whose list has only to hold what was captured.
GROWS = {"capabilities"}


@define
class Answer:
    """One answer as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    framed: str


def captured(said: Any) -> Answer:
    """Return what the Go daemon answered."""
    headers = dict(one.split(": ", 1) for one in said["headers"])
    body = said["body"].encode()
    chunked = headers.get("Transfer-Encoding") == "chunked"
    return Answer(
        said["line"], headers, dechunked(body) if chunked else body,
        "chunked" if chunked else "length",
    )  # fmt: skip


def dechunked(raw: bytes) -> bytes:
    whole, rest = b"", raw
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            break
        whole, rest = whole + rest[:count], rest[count + 2 :]
    return whole


def read_answer(connection: socket.socket) -> Answer:
    head, body = read_head(connection)
    line, *lines = head.split("\r\n")
    headers = dict(one.split(": ", 1) for one in lines)
    chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
    length = int(headers.get("Content-Length", "0"))
    while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < length:
        piece = connection.recv(65536)
        assert piece, body
        body += piece
    framed = "chunked" if chunked else "length"
    return Answer(line, headers, dechunked(body) if chunked else body, framed)


def same_json(ours: Any, theirs: Any, key: str = "") -> None:
    """Compare values; ours may have more keys, and other words where L{MASKED}."""
    if key in MASKED:
        assert type(ours) is type(theirs), key
    elif isinstance(theirs, dict):
        assert isinstance(ours, dict), key
        assert theirs.keys() <= ours.keys(), key
        for name, value in theirs.items():
            same_json(ours[name], value, name)
    elif key == "domains" and all(isinstance(one, dict) for one in theirs):
        # A16: each domain once, not once a replica.
        assert [json.loads(one) for one in dict.fromkeys(map(json.dumps, theirs))] == (
            ours
        )
    elif key in GROWS:
        assert {*theirs} <= {*ours}
    elif key == "tags":
        # Which they are depends on what was built before the capture began.
        assert all(one["tag"] == f"hello:{one['deploymentId']}" for one in ours)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), key
        for one, other in zip(ours, theirs, strict=True):
            same_json(one, other, key)
    else:
        assert ours == theirs, key


def entries(stream: bytes) -> list[dict[str, Any]]:
    """Return what a stream tells; C{id:} lines are ours (C{Last-Event-ID})."""
    assert stream.startswith(b": keepalive\n\n")
    frames = [one for one in stream.decode().split("\n\n") if one]
    found = []
    for frame in frames:
        lines = [one for one in frame.split("\n") if not one.startswith("id: ")]
        assert len(lines) == 1
        if lines[0] != ": keepalive":
            assert lines[0].startswith("data: ")
            found.append(json.loads(lines[0][6:]))
    return found


def same_stream(ours: bytes, theirs: bytes) -> None:
    """Compare the ends; how the way there is told is each daemon's own."""
    mine, golden = entries(ours), entries(theirs)
    assert bool(mine) == bool(golden)
    for one in mine:
        assert {"level", "message", "timestamp"} <= one.keys()
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", one["timestamp"]
        )
        assert all(isinstance(text, str) for text in one.get("fields", {}).values())
    if golden:
        same_json(mine[-1], golden[-1])
        assert not any("isDeploymentComplete" in one for one in mine[:-1])


def same_headers(asked: str, ours: Answer, theirs: Answer, *, direct: bool) -> None:
    for name, value in theirs.headers.items():
        if name == NO_CORS:
            assert name not in ours.headers
        elif name not in HOP and not (name == "Allow" and not direct):
            assert ours.headers.get(name) == value, (asked, name)
    if direct and "101" not in ours.line:
        connection = theirs.headers.get("Connection")
        assert ours.headers.get("Connection") == connection, asked
        short = theirs.framed == "length" and not asked.startswith("POST /v1/exec")
        assert ours.framed == "length" or not short, asked
    if ours.line.split()[1] >= "400" and not {"404 page", "Method Not"} & {
        ours.body.decode()[:8],
        ours.body.decode()[:10],
    }:
        assert "X-Haloy-Error" in ours.headers, asked


def compare(asked: str, ours: Answer, theirs: Answer, *, direct: bool) -> None:
    """Compare one answer with the captured one."""
    named = asked.removesuffix(" HTTP/1.1")
    expected = DIFFERS.get(named, theirs.line)
    assert ours.line == expected, (asked, ours)
    if expected != theirs.line:
        return
    same_headers(asked, ours, theirs, direct=direct)
    kind = theirs.headers.get("Content-Type", "")
    if kind == "text/event-stream":
        same_stream(ours.body, theirs.body)
    elif kind == "application/json":
        assert ours.body.endswith(b"}\n")
        same_json(json.loads(ours.body), json.loads(theirs.body))
    elif kind.startswith("text/plain"):
        assert re.fullmatch(rb"[^\n]{5,}\n", ours.body), (asked, ours.body)
    else:
        assert ours.body == theirs.body == b""


@define(eq=False)
class Replay:
    """Says the captured requests in their order; log streams end behind the rest."""

    site: Server
    connect: Callable[[Server], socket.socket]
    _streams: list[tuple[socket.socket, Any]] = field(factory=list, init=False)
    _said: str = field(default="", init=False)

    @property
    def _direct(self) -> bool:
        return self.connect is plain

    def say(self, found: Any) -> None:
        asked = found["request"]["line"]
        connection = self._send(found["request"])
        if asked.startswith("GET /v1/deploy/"):
            # Some were opened before their deployment was asked for.
            self._streams.append((connection, found))
        else:
            answer = self._answer(found, connection)
            compare(asked, answer, captured(found["response"]), direct=self._direct)
            self._said += found["request"]["body"]
        self._end_streams()

    def limited(self, found: Any) -> None:
        """Use up what the token may ask, then ask for the captured refusal."""
        many = f"GET /v1/version HTTP/1.1\r\n{HEAD}\r\n".encode() * 60
        with self.connect(self.site) as connection, plain(self.site) as other:
            other.sendall(many)
            read_head(other)
            self._write(connection, found["request"])
            ours, theirs = read_answer(connection), captured(found["response"])
        assert int(ours.headers["Retry-After"]) >= 1
        compare(found["request"]["line"], ours, theirs, direct=self._direct)

    def _send(self, asked: Any) -> socket.socket:
        connection = self.connect(self.site)
        self._write(connection, asked)
        return connection

    def _write(self, connection: socket.socket, asked: Any) -> None:
        headers = [
            f"Host: {API}" if one.startswith("Host: ") and not self._direct else one
            for one in asked["headers"]
        ]
        head = "\r\n".join([asked["line"], *headers]).replace("<TOKEN>", TOKEN)
        connection.sendall(f"{head}\r\n\r\n{asked['body']}".encode())

    def _answer(self, found: Any, connection: socket.socket) -> Answer:
        """Return the answer; what is refused by rate is said again in time."""
        with connection:
            answer = read_answer(connection)
        if " 429 " not in answer.line or found["request"]["line"] in _LIMITED:
            return answer
        self._wait(answer)
        return self._answer(found, self._send(found["request"]))

    def _wait(self, answer: Answer) -> None:
        """Wait as it is asked for, on a socket that says nothing."""
        with self.connect(self.site) as quiet:
            quiet.settimeout(int(answer.headers["Retry-After"]))
            with suppress(TimeoutError):
                quiet.recv(1)

    def _end_streams(self) -> None:
        """Read the streams whose deployment has been asked for."""
        for one in tuple(self._streams):
            connection, found = one
            asked = found["request"]["line"]
            if asked.split("/")[3] in self._said:
                self._streams.remove(one)
                answer = self._answer(found, connection)
                said = captured(found["response"])
                compare(asked, answer, said, direct=self._direct)
                identifier = asked.split("/")[3]
                if b"isDeploymentSuccess" in said.body:
                    names = [f"hello-{identifier}-r{number}" for number in (1, 2)]
                    self.site.until_containers("hello", names)


#: Requests that were captured as refused by rate.
_LIMITED = {
    one["request"]["line"] for one in EDGES if " 429 " in one["response"]["line"]
}


@pytest.fixture
def site(tmp_path: Path, docker: PrivateDocker) -> Iterator[Server]:
    """Give a server with the captured app's image, and a domain for its API."""
    build(docker, tmp_path, "hello:latest", "hello", "echo ok > /www/health")
    try:
        with server(tmp_path, docker, api={"domain": API}) as made:
            yield made
    finally:
        docker.clear(("app:one", "app:two"))


def deploy_older(site: Server) -> None:
    """Deploy what the captured rollback list begins with."""
    (listed,) = (
        one for one in EXCHANGES[:10] if "GET /v1/rollback" in one["request"]["line"]
    )
    targets = json.loads(captured(listed["response"]).body)["targets"]
    asked = next(
        one for one in EXCHANGES if "POST /v1/deploy" in one["request"]["line"]
    )
    deploy = json.loads(asked["request"]["body"])
    for target in reversed(targets[1:]):
        identifier = target["DeploymentID"]
        status, text = site.daemon.api(
            "POST", "/v1/deploy", {**deploy, "deploymentID": identifier}
        )
        assert status == 202, text
        assert site.end_of(identifier)["isDeploymentSuccess"]


@pytest.mark.parametrize("connect", [plain, secure])
def test_captured_exchanges(
    site: Server, connect: Callable[[Server], socket.socket]
) -> None:
    """On loopback, and through the proxy by the API's domain."""
    deploy_older(site)
    replay = Replay(site, connect)
    for found in EXCHANGES + EDGES[:-1]:
        # Docker's search for this name takes 20 s where no resolver can be reached.
        if connect is plain or "registry.invalid" not in found["request"]["body"]:
            replay.say(found)
    replay.limited(EDGES[-1])
