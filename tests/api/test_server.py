"""What the API answers, through its true HTTP surface.

C{golden/} are exchanges between the Go client and daemon: ours has the same status,
headers and keys, with dates and words masked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from haloy.api.schema import Readiness
from haloy.daemon.logs import ServerLog
from haloy.deploy.interface import (
    AppStatus,
    LogEntry,
    ReplicaStatus,
    RollbackTarget,
)
from haloy.engine.interface import ContainerSpec
from haloy.errors import (
    Conflict,
    EngineUnavailable,
    Forbidden,
    HaloyError,
    InsufficientStorage,
    PolicyRefused,
    StoreError,
)
from haloy.model.app import Assessment, Domain, Verdict
from haloy.model.names import AppName, DeploymentId, DomainName
from haloy.proxy.form import form
from haloy.proxy.interface import Program
from tests.fakes.certificates import FakeCertificates
from tests.fakes.certificates import status as certificate
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import NOW, FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.fakes.threads import InlineClock
from tests.support.api import TOKEN, make_api

GOLDEN = json.loads((Path(__file__).parent / "golden/exchanges.json").read_text())
ID = "01m83xb9j8bwez2bj0erpm4y3a"


@define
class Answer:
    """One answer, read whole."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@define(eq=False)
class Server:
    """The API over fakes."""

    deployments: FakeDeployments = field(factory=FakeDeployments)
    engine: FakeEngine = field(factory=FakeEngine)
    clock: InlineClock = field(factory=InlineClock)
    folder: Path = Path()
    database: MemoryDatabase = field(factory=MemoryDatabase)
    log: ServerLog = field(factory=ServerLog)
    readiness: Readiness = field(factory=lambda: Readiness("", "", "", ""))
    certificates: FakeCertificates = field(factory=FakeCertificates)
    serving: tuple[Program, ...] = (Program("", "interpreted"),)
    away: str = ""
    treq: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        api = make_api(
            self.clock,
            self.folder,
            self.deployments,
            self.engine,
            self.database,
            readiness=lambda: self.readiness,
            certificates=self.certificates,
            serving=self.programs,
            log=self.log,
        )
        self.treq = StubTreq(api.resource())

    def programs(self) -> tuple[Program, ...]:
        if self.away:
            raise HaloyError(self.away)
        return self.serving

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = TOKEN,
        **headers: str,
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        response = self._now(
            self.treq.request(method, f"http://x{path}", headers=sent, data=data)
        )
        text = self._now(self.treq.content(response))
        found = {
            name.decode(): values[0].decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, found, text.decode())

    def _now(self, waiting: Any) -> Any:
        done: list[Any] = []
        waiting.addBoth(done.append)
        self.treq.flush()
        assert done, "no answer"
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    yield found
    found.database.close()


def exchange(line: str) -> Any:
    return next(one for one in GOLDEN if one["request"]["line"].startswith(line))


def headers_of(found: Any) -> dict[str, str]:
    pairs = (one.split(": ", 1) for one in found["response"]["headers"])
    return dict(pairs)


def same_headers(answer: Answer, found: Any) -> None:
    """Date is masked; CORS is left out on purpose; length depends on words."""
    left_out = {"Date", "Content-Length", "Transfer-Encoding", "Connection"}
    left_out |= {"Access-Control-Allow-Origin"}
    for name, value in headers_of(found).items():
        if name not in left_out:
            assert answer.headers.get(name) == value, name


def replica(number: int, *, draining: bool = False) -> ReplicaStatus:
    return ReplicaStatus(
        container_id=f"{number:064x}",
        name=f"hello-{number}",
        number=number,
        deployment=DeploymentId(ID),
        state="running",
        assessment=Assessment(Verdict.HEALTHY, "/ answered 200", NOW),
        image=f"hello:{ID}",
        restarts=0,
        started_at=NOW,
        draining=draining,
    )


def hello(*replicas: ReplicaStatus) -> AppStatus:
    domain = Domain(DomainName("hello.localhost"), (DomainName("www.hello.localhost"),))
    return AppStatus(
        AppName("hello"), "running", DeploymentId(ID), (domain,), tuple(replicas)
    )


# --- golden ---------------------------------------------------------------------


def test_health_as_captured(server: Server) -> None:
    """The Go client calls it before every call."""
    answer = server.ask("GET", "/health", token=None)
    found = exchange("GET /health")
    same_headers(answer, found)
    assert answer.json == {**json.loads(found["response"]["body"]), "version": "1.2.3"}


def test_version_as_captured(server: Server) -> None:
    """Every key the Go client knows, and our capabilities."""
    answer = server.ask("GET", "/v1/version")
    found = exchange("GET /v1/version")
    same_headers(answer, found)
    captured = json.loads(found["response"]["body"])
    ours = {"haloyd_form", "haloy_proxy_form", "haloy_proxy_workers"}
    assert answer.json.keys() - captured.keys() == ours
    assert captured.keys() <= answer.json.keys()
    assert answer.json["haloy_proxy_compatible"] is True
    assert (answer.json["haloy_proxy"], answer.json["haloyd_form"]) == ("1.2.3", form())


def test_version_of_workers_of_another_release(server: Server) -> None:
    """In an update haloyd, the workers that serve and those that drain may differ."""
    old = Program("1.2.2", "interpreted", 2, draining=True)
    server.serving = (Program("1.3.0", "compiled", 4), old)
    told = server.ask("GET", "/v1/version").json
    assert (told["haloyd"], told["haloy_proxy"]) == ("1.2.3", "1.3.0")
    assert (told["haloyd_form"], told["haloy_proxy_form"]) == (form(), "compiled")
    assert told["haloy_proxy_workers"] == [
        {"version": "1.3.0", "form": "compiled", "count": 4, "draining": False},
        {"version": "1.2.2", "form": "interpreted", "count": 2, "draining": True},
    ]


def test_version_without_a_proxy(server: Server) -> None:
    """Nothing is said of one that nobody reaches, but why."""
    server.away = "haloy-proxy: nobody listens there"
    told = server.ask("GET", "/v1/version").json
    assert told["haloy_proxy_trouble"] == server.away
    assert told["haloyd"] == "1.2.3"
    assert told.keys().isdisjoint({"haloy_proxy", "haloy_proxy_compatible"})


def test_deploy_as_captured(server: Server) -> None:
    """The captured request is taken: 202, no body."""
    found = exchange("POST /v1/deploy")
    answer = server.ask("POST", "/v1/deploy", found["request"]["body"].encode())
    assert (answer.status, answer.text) == (202, "")
    same_headers(answer, found)
    (request,) = server.deployments.taken
    assert request.id == ID
    assert request.target.replicas == 2
    assert request.stored["name"] == "hello"


def test_status_as_captured(server: Server) -> None:
    """A16: old keys untouched, domains once, health of every replica beside them."""
    server.deployments.known["hello"] = hello(replica(1), replica(2))
    server.certificates.known = [certificate("hello.localhost"), certificate("x")]
    answer = server.ask("GET", "/v1/status/hello")
    found = exchange("GET /v1/status/hello")
    same_headers(answer, found)
    captured = json.loads(found["response"]["body"])
    assert captured.keys() <= answer.json.keys()
    assert len(answer.json["containerIds"]) == 2
    assert answer.json["domains"] == [
        {"domain": "hello.localhost", "aliases": ["www.hello.localhost"]}
    ]
    assert answer.json["replicas"][0]["health"]["verdict"] == "healthy"
    (shown,) = answer.json["certificates"]
    assert (shown["name"], shown["state"]) == ("hello.localhost", "valid")


def test_draining_replica_is_no_container_of_the_app(server: Server) -> None:
    """It is shown, but not among those that serve."""
    server.deployments.known["hello"] = hello(replica(1), replica(2, draining=True))
    answer = server.ask("GET", "/v1/status/hello").json
    assert len(answer["containerIds"]) == 1
    assert [one["draining"] for one in answer["replicas"]] == [False, True]


def test_rollback_list_as_captured(server: Server) -> None:
    """PascalCase keys, `null` when empty, and no word the Go client does not know."""
    found = exchange("GET /v1/rollback/hello")
    config = {"name": "hello", "deploymentStrategy": "blue_green"}
    kept = RollbackTarget(DeploymentId(ID), f"hello:{ID}", config)
    server.deployments.kept["hello"] = (kept,)
    answer = server.ask("GET", "/v1/rollback/hello")
    same_headers(answer, found)
    (target,) = answer.json["targets"]
    assert target == {
        "DeploymentID": ID,
        "ImageID": "",
        "ImageRef": f"hello:{ID}",
        "RawDeployConfig": {"name": "hello", "deploymentStrategy": "rolling"},
    }
    assert server.ask("GET", "/v1/rollback/other").json == {"targets": None}


def test_rollback_and_stop_as_captured(server: Server) -> None:
    """Both are 202 without a body."""
    kept = RollbackTarget(DeploymentId(ID), f"hello:{ID}", {})
    server.deployments.kept["hello"] = (kept,)
    server.deployments.known["hello"] = hello(replica(1))
    found = exchange("POST /v1/rollback")
    body = json.loads(found["request"]["body"]) | {"targetDeploymentID": ID}
    answer = server.ask("POST", "/v1/rollback", body)
    assert answer.status == 202
    same_headers(answer, found)
    assert server.deployments.taken[0].rolled_back_from == ID
    path = "/v1/stop/hello?remove-containers=true"
    stopped = server.ask("POST", path)
    same_headers(stopped, exchange("POST /v1/stop/hello"))
    assert (stopped.status, stopped.text) == (202, "")
    assert server.deployments.stopped == [("hello", True, False)]


def test_stop_of_an_unknown_app_is_told(server: Server) -> None:
    """A13: no 202 for what does not exist."""
    assert server.ask("POST", "/v1/stop/nobody").status == 404


# --- streams ---------------------------------------------------------------------


def entry(seq: int, message: str, **values: Any) -> LogEntry:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return LogEntry("INFO", message, at, "hello", ID, seq=seq, **values)


def test_deployment_log_as_captured(server: Server) -> None:
    """First a comment, then events, and both flags on a failed end."""
    server.deployments.logs[ID] = [
        entry(1, "Started", fields={"replica": "1"}),
        entry(2, "Failed", fields={"error": "boom"}, complete=True, failed=True),
    ]
    answer = server.ask("GET", f"/v1/deploy/{ID}/logs")
    same_headers(answer, exchange(f"GET /v1/deploy/{ID}/logs"))
    first, *events = answer.text.strip().split("\n\n")
    assert first == ": keepalive"
    lines = [one.partition("data: ")[2] for one in events]
    assert json.loads(lines[0])["fields"] == {"replica": "1"}
    last = json.loads(lines[1])
    assert last["isDeploymentComplete"] is True
    assert last["isDeploymentFailed"] is True
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_stream_is_taken_up_again(server: Server) -> None:
    """A4: who comes back gets what it missed, by the number of the last event."""
    server.deployments.logs[ID] = [
        entry(4, "old"),
        entry(5, "new", complete=True),
    ]
    answer = server.ask("GET", f"/v1/deploy/{ID}/logs", Last_Event_ID="4")
    assert "old" not in answer.text
    assert "id: 5\n" in answer.text
    assert server.deployments.followed == [(ID, 4)]


def test_keep_alives_come_every_half_minute(server: Server) -> None:
    """A quiet deployment does not look like a dead connection."""
    server.deployments.open_ended = Deferred()
    waiting = server.treq.request(
        "GET",
        f"http://x/v1/deploy/{ID}/logs",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    responses: list[Any] = []
    waiting.addCallback(responses.append)
    server.treq.flush()
    pieces: list[bytes] = []
    server.treq.collect(responses[0], pieces.append)
    server.treq.flush()
    server.clock.advance(30)
    server.treq.flush()
    assert b"".join(pieces) == b": keepalive\n\n" * 2
    server.deployments.open_ended.callback(None)
    server.treq.flush()
    assert server.clock.getDelayedCalls() == []


async def make_container(server: Server, output: bytes) -> str:
    server.engine.have_image("hello:1")
    container = await server.engine.create(ContainerSpec("hello-1", "hello:1"))
    await server.engine.start(container)
    server.engine.output["hello-1"] = output
    return container


def running(server: Server, output: bytes) -> str:
    made: list[str] = []
    Deferred.fromCoroutine(make_container(server, output)).addCallback(made.append)
    status = replica(1)
    server.deployments.known["hello"] = hello(
        ReplicaStatus(
            made[0],
            status.name,
            1,
            status.deployment,
            "running",
            None,
            status.image,
            0,
            None,
        )
    )
    return made[0]


def test_container_lines(server: Server) -> None:
    """Lines with the container they came from; empty ones are left out."""
    container = running(server, b"one\n\ntwo\r\nthree")
    answer = server.ask("GET", "/v1/logs/hello?follow=false&tail=5")
    same_headers(answer, exchange("GET /v1/logs/hello"))
    events = [
        json.loads(one.partition("data: ")[2])
        for one in answer.text.strip().split("\n\n")[1:]
    ]
    assert [one["line"] for one in events] == ["one", "two", "three"]
    assert {one["containerId"] for one in events} == {container}


@pytest.mark.parametrize(
    ("asked", "count"), [("", 150), ("0", 0), ("2", 2), ("-1", 100), ("x", 100)]
)
def test_past_lines(server: Server, asked: str, count: int) -> None:
    """None are some, too; what is no count is as if it were not given."""
    running(server, b"line\n" * 150)
    query = f"&tail={asked}" if asked else "&tail=150"
    answer = server.ask("GET", f"/v1/logs/hello?follow=false{query}")
    assert answer.text.count('"line":') == count


def test_lines_since_a_time(server: Server) -> None:
    """Docker is told from when on; by default nothing."""
    running(server, b"one")
    server.ask("GET", "/v1/logs/hello?follow=false&since=1764000000.5")
    assert server.engine.since_s == 1764000000.5
    server.ask("GET", "/v1/logs/hello?follow=false&since=1764000000")
    assert server.engine.since_s == 1764000000
    server.ask("GET", "/v1/logs/hello?follow=false")
    assert server.engine.since_s == 0


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("?since=yesterday", 400, "since"),
        ("?since=1.x", 400, "since"),
        ("?containerId=1&allContainers=true", 400, "not both"),
        ("?containerId=fff", 400, "containerId"),
    ],
)
def test_odd_container_choices(
    server: Server, query: str, status: int, words: str
) -> None:
    """The field is named."""
    running(server, b"")
    answer = server.ask("GET", f"/v1/logs/hello{query}")
    assert (answer.status, words in answer.text) == (status, True)


def test_logs_of_what_does_not_run(server: Server) -> None:
    """404 for an unknown app and for one without a running container."""
    server.deployments.known["hello"] = hello()
    assert server.ask("GET", "/v1/logs/hello").status == 404
    assert server.ask("GET", "/v1/logs/nobody").status == 404


# --- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field_name"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        ({"deploymentID": ID}, "targetConfig"),
        ({"deploymentID": "", "targetConfig": {}}, "deploymentID"),
        ({"deploymentID": "Bad Id!", "targetConfig": {"name": "a"}}, "deploymentID"),
        ({"deploymentID": 5, "targetConfig": {}}, "deploymentID"),
        ({"deploymentID": ID, "targetConfig": {"name": "a", "x": 1}}, "targetConfig.x"),
        (
            {"deploymentID": ID, "targetConfig": {"name": "a"}, "extra": 1},
            "extra",
        ),
        (
            {
                "deploymentID": ID,
                "targetConfig": {"name": "a"},
                "rollbackDeployConfig": 3,
            },
            "rollbackDeployConfig",
        ),
        ({"deploymentID": ID, "targetConfig": {"name": "a"}}, "server"),
        (
            {
                "deploymentID": ID,
                "targetConfig": {"name": "a", "server": "s", "replicas": "2"},
            },
            "targetConfig.replicas",
        ),
    ],
)
def test_odd_bodies_never_reach_the_background(
    server: Server, body: object, field_name: str
) -> None:
    """A1: 400 in one line of text that names the field."""
    answer = server.ask("POST", "/v1/deploy", body)
    assert answer.status == 400
    assert answer.text.startswith(f"{field_name}: ")
    assert answer.text.count("\n") == 1
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Haloy-Error"] == "invalid"
    assert server.deployments.taken == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"\xff{}", "is not UTF-8"),
        (b'{"deploymentID": "\\ud800"}', "is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a": %s}' % (b"9" * 5000), "is not JSON: a number has too many digits"),
        (b'{"a": NaN}', "is not JSON: NaN is not a number"),
        (b'{"a" 1}', "is not JSON: Expecting ':' delimiter: line 1 column 6 (char 5)"),
    ],
)
def test_what_is_no_json(server: Server, body: bytes, told: str) -> None:
    """In words about the body, not about Python's limits."""
    answer = server.ask("POST", "/v1/deploy", body)
    assert (answer.status, answer.text) == (400, f"body: {told}\n")


def test_field_names_in_any_case(server: Server) -> None:
    """As the Go decoder reads them."""
    found = json.loads(exchange("POST /v1/deploy")["request"]["body"])
    found["DEPLOYMENTID"] = found.pop("deploymentID")
    assert server.ask("POST", "/v1/deploy", found).status == 202


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_every_401_is_the_same(server: Server, token: str | None) -> None:
    """A19: the answer does not tell what was wrong."""
    answer = server.ask("GET", "/v1/version", token=token)
    assert answer.status == 401
    assert answer.text == ("authentication failed: a valid bearer token is needed\n")
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_failed_authentications_are_limited_by_address(server: Server) -> None:
    """A12: guessing is slowed down, a valid token behind the address is not."""
    for _ in range(10):
        assert server.ask("GET", "/v1/version", token="wrong").status == 401
    limited = server.ask("GET", "/v1/version", token="wrong")
    assert limited.status == 429
    assert int(limited.headers["Retry-After"]) > 0
    assert server.ask("GET", "/v1/version").status == 200
    server.clock.advance(61)
    assert server.ask("GET", "/v1/version", token="wrong").status == 401


def test_rate_is_limited_and_health_is_not(server: Server) -> None:
    """Burst 10, then five a second; /health is never refused."""
    statuses = [server.ask("GET", "/v1/version").status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    assert all(server.ask("GET", "/health").status == 200 for _ in range(20))
    server.clock.advance(1)
    assert [server.ask("GET", "/v1/version").status for _ in range(6)] == (
        [200] * 5 + [429]
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nope", 404, "404 page not found\n"),
        ("GET", "/v1/version/", 404, "404 page not found\n"),
        ("POST", "/health", 405, "Method Not Allowed\n"),
        ("DELETE", "/v1/deploy", 405, "Method Not Allowed\n"),
    ],
)
def test_paths_that_are_none_of_ours(
    server: Server, method: str, path: str, status: int, text: str
) -> None:
    """As captured: no authentication, no security headers, plain text.

    With a word for programs, as all errors: what was asked for is not what is missing.
    """
    answer = server.ask(method, path, token=None)
    assert (answer.status, answer.text) == (status, text)
    word = "no-route" if status == 404 else "method-not-allowed"
    assert answer.headers["X-Haloy-Error"] == word
    if status == 405:
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    ("path", "seen", "field"),
    [
        ("/v1/events?app=-x", "", "app"),
        ("/v1/events?app=a/b", "", "app"),
        (f"/v1/events?app={'a' * 64}", "", "app"),
        ("/v1/events", "x", "Last-Event-ID"),
        ("/v1/events", "-1", "Last-Event-ID"),
        ("/v1/events", "9" * 18, "Last-Event-ID"),
        (f"/v1/deploy/{ID}/logs", "1.5", "Last-Event-ID"),
    ],
)
def test_odd_questions_for_a_stream(
    server: Server, path: str, seen: str, field: str
) -> None:
    """The field is named; nobody waits for events that cannot come."""
    answer = server.ask("GET", path, Last_Event_ID=seen)
    assert answer.status == 400
    assert answer.text.startswith(f"{field}: ") or f"{field} " in answer.text, answer


def test_head_answers_like_get(server: Server) -> None:
    """Same headers, no body."""
    answer = server.ask("HEAD", "/health", token=None)
    assert (answer.status, answer.text) == (200, "")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (Conflict("domain a.example.com belongs to app b"), 409, "conflict"),
        (Forbidden("token ci does not allow this"), 403, "forbidden"),
        (PolicyRefused("host network is not allowed"), 403, "policy"),
        (EngineUnavailable("Docker is unreachable"), 503, "engine-unavailable"),
        (StoreError("database: locked"), 503, "store"),
        (InsufficientStorage("insufficient disk space"), 507, "insufficient-storage"),
        (HaloyError("odd"), 500, "error"),
    ],
)
def test_errors_have_a_status_and_a_code(
    server: Server, problem: HaloyError, status: int, code: str
) -> None:
    """One table decides; the text is the sentence itself."""
    server.deployments.refuse = problem
    found = exchange("POST /v1/deploy")
    answer = server.ask("POST", "/v1/deploy", found["request"]["body"].encode())
    assert (answer.status, answer.headers["X-Haloy-Error"]) == (status, code)
    assert answer.text == f"{problem}\n"


def test_mistake_of_ours_is_logged_and_not_shown(
    server: Server, logged_failures: list[Failure]
) -> None:
    """A20: no traceback, path or address goes to a client."""
    server.deployments.refuse = RuntimeError("/secret/path 10.0.0.1")
    found = exchange("POST /v1/deploy")
    answer = server.ask("POST", "/v1/deploy", found["request"]["body"].encode())
    assert answer.status == 500
    assert "secret" not in answer.text
    assert len(logged_failures) == 1
    logged_failures.clear()


def test_same_deployment_twice(server: Server) -> None:
    """A22: equal content is fine, another content is a conflict."""
    body = json.loads(exchange("POST /v1/deploy")["request"]["body"])
    assert server.ask("POST", "/v1/deploy", body).status == 202
    assert server.ask("POST", "/v1/deploy", body).status == 202
    body["targetConfig"]["replicas"] = 3
    assert server.ask("POST", "/v1/deploy", body).status == 409


def test_readiness_tells_the_truth(server: Server) -> None:
    """D26: 503 with the part that does not work; /health stays."""
    assert server.ask("GET", "/health/ready", token=None).json["ready"] is True
    server.readiness = Readiness("Docker is unreachable", "", "", "")
    answer = server.ask("GET", "/health/ready", token=None)
    assert answer.status == 503
    assert answer.json["docker"] == "Docker is unreachable"
    assert server.ask("GET", "/health", token=None).status == 200


def test_list_of_apps(server: Server) -> None:
    """What runs on this server, in one call."""
    server.deployments.known["hello"] = hello(replica(1))
    (app,) = server.ask("GET", "/v1/apps").json["apps"]
    assert app["appName"] == "hello"
