"""Every other command against the real API: what it prints, and its exit code."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import deferLater

from haloy.cli.diagnosis import addresses
from haloy.cli.main import COMMANDS
from haloy.deploy.interface import RollbackTarget
from haloy.errors import PolicyRefused
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.form import form
from haloy.proxy.interface import Program
from tests.api.test_deployments import detail
from tests.api.test_server import ID, hello, replica, running
from tests.support.cli import Bench
from tests.support.ports import free_port


@pytest_twisted.async_yield_fixture
async def bench(reactor: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(reactor, tmp_path)
    await found.start()
    yield found
    await found.stop()
    await deferLater(reactor, 0.01)


#: How to ask each command for something that needs the server, and its errors.
ASKING: dict[str, tuple[str, ...]] = {
    "deploy": (),
    "status": (),
    "logs": ("--no-follow",),
    "rollback": ("--yes",),
    "rollback-targets": (),
    "stop": (),
    "exec": ("--", "true"),
    "tunnel": (),
    "apps": (),
    "prune-images": (),
    "deployments": (),
    "diff": (),
    "cancel": ("x",),
    "server version": (),
    "server logs": (),
    "server registry list": (),
    "server registry logout": ("x",),
    "tokens list": (),
    "tokens create": ("ci", "--scope", "read"),
    "tokens revoke": ("ci",),
    "tokens audit": (),
}


#: Those that are asked of a server that is not there; the others have a wrong token.
DEAD = (
    *("deploy", "logs", "exec", "tunnel", "apps", "rollback"),
    *("server logs", "server registry logout", "tokens create", "tokens audit"),
    *("diff", "cancel", "tokens revoke"),
)


def test_every_command_is_asked() -> None:
    """The table below forgets none; these need no server."""
    without = {"init", "targets", "validate-config", "completion", "version", "doctor"}
    elsewhere = {"certs"}  # tests/cli/test_certs.py
    known = {name.split()[0] for name in ASKING} | without | elsewhere
    assert known == COMMANDS.keys()


async def test_a_refused_token_is_exit_code_4(bench: Bench) -> None:
    """Of every command; one line, no traceback."""
    bench.configure(port=str(free_port()))

    async def ask(name: str) -> None:
        done = await bench.haloy(
            *name.split(), *ASKING[name], environment={"HALOY_API_TOKEN": "wrong" * 8}
        )
        assert done.returncode == 4, (name, done.stderr)
        assert "authentication failed" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout

    # Not all of them: who is refused too often is not even heard.
    await each(ask, [name for name in ASKING if name not in DEAD])


async def test_nobody_there_is_exit_code_5(bench: Bench) -> None:
    """Each kind of call says where it wanted to go."""
    server = f"127.0.0.1:{free_port()}"
    bench.configure(server=server, port=str(free_port()))

    async def ask(name: str) -> None:
        done = await bench.haloy(*name.split(), *ASKING[name])
        assert done.returncode == 5, (name, done.stderr)
        assert f"server not available at http://{server}" in done.stderr
        assert len(done.stderr.splitlines()) < 4

    await each(ask, DEAD)


async def each(
    ask: Callable[[str], Coroutine[Any, Any, None]], names: Iterable[str]
) -> None:
    """Ask for all, some at a time."""
    gate = DeferredSemaphore(4)

    def begin(name: str) -> Deferred[None]:
        return Deferred.fromCoroutine(ask(name))

    running = [gate.run(begin, name) for name in names]
    await gatherResults(running, consumeErrors=True)


async def test_apps_without_a_configuration(bench: Bench) -> None:
    """`status` and `apps` list what a server runs; nothing needs a haloy.yaml."""
    bench.deployments.known["hello"] = hello(replica(1), replica(2))
    for command in ("apps", "status"):
        done = await bench.haloy(command, "--server", bench.server)
        assert done.returncode == 0, done.stderr
        (row,) = [line for line in done.stdout.splitlines() if "hello" in line]
        assert "/2" in row
        told = await bench.haloy(command, "--server", bench.server, "--json")
        (report,) = json.loads(told.stdout)
        assert [one["appName"] for one in report["apps"]] == ["hello"]
    done = await bench.haloy("apps")
    assert (done.returncode, "haloy init" in done.stderr) == (3, True)


async def test_status_by_server_and_app(bench: Bench) -> None:
    """CLI section 9, point 23: replicas, health, age, image; without a file too."""
    bench.deployments.known["hello"] = hello(replica(1))
    done = await bench.haloy("status", "-s", bench.server, "--app", "hello")
    assert done.returncode == 0, done.stderr
    assert "REPLICA" in done.stdout
    done = await bench.haloy("status", "-s", bench.server, "--app", "other")
    assert (done.returncode, done.stderr) == (
        1,
        f"✖ other is not deployed on {bench.server}\n",
    )
    both = await bench.haloy("status", "--watch", "--json")
    assert both.returncode == 2
    assert json.loads(both.stdout)["error"]["code"] == "usage"


async def test_stop_by_server_names_the_app(bench: Bench) -> None:
    """CLI section 9, point 11: never an empty name."""
    assert (await bench.haloy("stop", "--server", bench.server)).returncode == 2
    bench.deployments.known["hello"] = hello(replica(1))
    done = await bench.haloy("stop", "-s", bench.server, "--app", "hello", "--json")
    assert json.loads(done.stdout)[0]["ok"] is True
    assert bench.deployments.stopped == [("hello", False, False)]
    bench.deployments.known.clear()
    done = await bench.haloy("stop", "-s", bench.server, "--app", "hello", "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["code"]) == (1, False, "not-found")
    assert report["error"] == "app hello is not deployed on this server"


async def test_targets_asks_nobody(bench: Bench) -> None:
    """What is inherited, sorted; no secret is fetched."""
    bench.configure(
        env=[{"name": "A", "from": {"env": "NOWHERE"}}],
        targets={
            "web": {"domains": [{"domain": "a.example.com"}], "replicas": 2},
            "db": {"preset": "database", "image": "postgres:18"},
        },
    )
    done = await bench.haloy("targets", "--json")
    assert json.loads(done.stdout) == [
        {
            "target": "db",
            "app": "db",
            "server": bench.server,
            "domains": [],
            "replicas": 1,
            "protected": True,
        },
        {
            "target": "web",
            "app": "web",
            "server": bench.server,
            "domains": ["a.example.com"],
            "replicas": 2,
            "protected": False,
        },
    ]
    table = (await bench.haloy("targets", "-t", "web")).stdout
    assert "a.example.com" in table
    assert "postgres" not in table
    unknown = await bench.haloy("targets", "-t", "wbe")
    assert unknown.returncode == 3
    assert "did you mean 'web'" in unknown.stderr


async def test_looking_needs_no_secret(bench: Bench) -> None:
    """CLI section 9, point 17: what is not used is not asked for."""
    secret = {"from": {"secret": "onepassword:none.password"}}
    bench.configure(name="hello", env=[{"name": "A", **secret}])
    running_app(bench, b"one\n")
    assert (await bench.haloy("deploy", "--dry-run")).returncode == 3
    for command in (("status",), ("logs", "--no-follow"), ("exec", "--", "true")):
        done = await bench.haloy(*command)
        assert done.returncode == 0, done.stderr


async def test_exec_passes_output_and_code(bench: Bench) -> None:
    """CLI section 9, point 20: streams apart, the remote code is the command's."""
    bench.configure(name="hello")
    running_app(bench)
    done = await bench.haloy("exec", "--", "echo", "-n", "hi")
    assert (done.returncode, done.stdout) == (0, "echo -n hi")
    done = await bench.haloy("exec", "ls", "-l")
    assert done.stdout == "ls -l"
    done = await bench.haloy("exec", "--json", "--", "true", "--json")
    (report,) = json.loads(done.stdout)
    assert report["results"][0]["exitCode"] == 0
    both = await bench.haloy(
        "exec", "--container", "x", "--all-containers", "--", "true"
    )
    assert both.returncode == 2
    assert (await bench.haloy("exec")).returncode == 2
    done = await bench.haloy("exec", "--container", "xyz", "--", "true")
    assert done.stderr == (
        "✖ --container: no running container of this app begins with 'xyz'\n"
    )


def running_app(bench: Bench, output: bytes = b"") -> None:
    """Have an app with one running container."""

    class Here:
        engine = bench.engine
        deployments = bench.deployments

    running(Here, output)  # type: ignore[arg-type]  # what it uses of a Server


async def test_logs_are_filtered(bench: Bench) -> None:
    """By expression, by time; as JSON a line is an object."""
    bench.configure(name="hello")
    running_app(bench, b"one\ntwo\nthree\n")
    done = await bench.haloy("logs", "--no-follow", "--grep", "^T", "-i")
    assert done.stdout.splitlines() == ["two", "three"], done.stderr
    done = await bench.haloy("logs", "--no-follow", "--all-containers", "--tail", "1")
    assert done.stdout.endswith("] three\n")
    done = await bench.haloy("logs", "--no-follow", "--json", "--since", "1h")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["line"] for row in rows] == ["one", "two", "three"]
    assert bench.engine.since_s > 1_700_000_000
    done = await bench.haloy("logs", "-f", "--no-follow", "--grep", "one")
    assert done.stdout == "one\n", "-f is a habit, and the last word counts"
    for wrong in (("--grep", "("), ("--since", "soon")):
        assert (await bench.haloy("logs", *wrong)).returncode == 2


async def test_prune_images(bench: Bench) -> None:
    """A dry run first, with what would apply it; nothing to do is one line."""
    bench.configure()
    done = await bench.haloy("prune-images", "--keep", "2")
    assert (done.returncode, "no image to remove" in done.stdout) == (0, True)
    told = await bench.haloy("prune-images", "--json")
    (report,) = json.loads(told.stdout)
    assert (report["keep"], report["applied"]) == (6, False)


async def test_a_token_without_the_right_is_exit_code_4(bench: Bench) -> None:
    """Another token helps; against the rules of the server none does: that is 1."""
    where = ("--server", bench.server)
    made = await bench.haloy("tokens", "create", "ci", "--scope", "read", *where)
    reads = {"HALOY_API_TOKEN": made.stdout.strip()}
    bench.configure(name="hello")
    for command in ("deploy", "stop"):
        done = await bench.haloy(command, environment=reads)
        assert (done.returncode, "does not allow" in done.stderr) == (4, True), command
    bench.deployments.refuse = PolicyRefused("network: host is not allowed")
    done = await bench.haloy("deploy")
    assert (done.returncode, "host is not allowed" in done.stderr) == (1, True)


async def test_tokens(bench: Bench) -> None:
    """Made, listed, used up, written down; the token is on stdout and nowhere else."""
    where = ("--server", bench.server)
    made = await bench.haloy(
        *("tokens", "create", "ci", "--scope", "deploy", "--app", "shop"),
        *("--days", "30", *where),
    )
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert len(token) > 30
    assert "only time" in made.stderr
    listed = await bench.haloy("tokens", "list", *where)
    assert token not in listed.stdout
    assert "shop" in listed.stdout
    own = await bench.haloy(
        "tokens", "list", *where, environment={"HALOY_API_TOKEN": token}
    )
    assert own.returncode == 4
    done = await bench.haloy("tokens", "revoke", "ci", *where)
    assert "revoked" in done.stdout
    (row,) = json.loads((await bench.haloy("tokens", "list", "--json", *where)).stdout)
    assert row["revokedAt"]
    audit = await bench.haloy("tokens", "audit", *where)
    assert "token.revoke" in audit.stdout
    refused = await bench.haloy("tokens", "revoke", "nobody", *where)
    assert refused.returncode == 1


async def test_server_version(bench: Bench) -> None:
    """CLI section 9, point 29: a daemon of another version is told."""
    done = await bench.haloy("server", "version", "--server", bench.server)
    assert "haloyd 1.2.3" in done.stdout
    assert "this command is" in done.stderr
    more = await bench.haloy("server", "version", "-s", bench.server, "--components")
    assert "layer-upload" in more.stdout
    told = await bench.haloy("server", "version", "-s", bench.server, "--json")
    assert json.loads(told.stdout)[0]["haloyd"] == "1.2.3"


async def test_what_serves_is_shown(bench: Bench) -> None:
    """Which form haloyd and its proxy run; in an update, who is of which version."""
    command = ("server", "version", "-s", bench.server)
    done = await bench.haloy(*command)
    assert f"haloyd 1.2.3 ({form()})" in done.stdout
    assert "its proxy is compatible: 1.2.3 (interpreted)" in done.stdout
    assert "workers" not in done.stdout
    bench.serving = (
        Program("1.3.0", "compiled", 2),
        Program("1.2.3", "interpreted", draining=True),
    )
    done = await bench.haloy(*command)
    assert "its proxy is compatible: 1.3.0 (compiled)" in done.stdout
    assert "workers that serve: 2, 1.3.0 (compiled)" in done.stdout
    assert "workers that drain: 1, 1.2.3 (interpreted)" in done.stdout
    assert "systemctl reload haloy-proxy" in done.stderr
    told = json.loads((await bench.haloy(*command, "--json")).stdout)[0]
    assert told["haloy_proxy_form"] == "compiled"
    assert [one["count"] for one in told["haloy_proxy_workers"]] == [2, 1]


async def test_registries(bench: Bench) -> None:
    """CLI section 9, point 26: a password comes by a pipe; the older form works."""
    where = ("--server", bench.server)
    for wrong in (
        ("login", "ghcr.io"),
        ("login", "ghcr.io", "-u", "me"),
        ("login", "ghcr.io", "-u", "me", "-p", "x", "--password-stdin"),
        ("login", "a", "b", "c"),
        ("list", "a", "b"),
    ):
        refused = await bench.haloy("server", "registry", *wrong, *where)
        assert refused.returncode == 2, wrong
    bench.engine.passwords["ghcr.io"] = "secret"
    done = await bench.haloy(
        *("server", "registry", "login", bench.server, "https://GHCR.io/v1/"),
        *("-u", "me", "-p", "secret", "--json"),
    )
    assert json.loads(done.stdout) == {"registry": "ghcr.io", "username": "me"}
    listed = await bench.haloy("server", "registry", "list", *where)
    assert "ghcr.io" in listed.stdout
    assert "secret" not in listed.stdout
    done = await bench.haloy("server", "registry", "logout", "ghcr.io", *where)
    assert done.returncode == 0
    done = await bench.haloy("server", "registry", "list", bench.server)
    assert "no login" in done.stdout


async def test_a_tunnel_to_nothing(bench: Bench) -> None:
    """What cannot work is said before anything listens."""
    bench.configure(name="hello")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        port = str(taken.getsockname()[1])
        done = await bench.haloy("tunnel", port)
        assert (done.returncode, "something listens" in done.stderr) == (1, True)
    assert (await bench.haloy("tunnel", port)).returncode == 1, "no such app"
    assert (await bench.haloy("tunnel", port, "--port", port)).returncode == 2
    assert (await bench.haloy("tunnel", "0")).returncode == 2
    bench.configure(targets={"a": {}, "b": {}})
    assert (await bench.haloy("tunnel", "-a")).returncode == 2


def test_names_below_localhost_are_this_machine() -> None:
    """Whatever the resolver says (RFC 6761 section 6.3); no other name is guessed."""
    assert set(addresses("shop.LocalHost")) & {"127.0.0.1", "::1"}
    assert addresses("shop.localhost.invalid") == []


async def test_doctor(bench: Bench) -> None:
    """Each thing with a next step; exit code 1 when something does not work."""
    bench.configure(name="hello", domains=[{"domain": "hello.invalid"}])
    bench.deployments.known["hello"] = hello(replica(1))
    done = await bench.haloy("doctor", "--json")
    report = json.loads(done.stdout)
    found = {one["check"]: one for one in report["checks"]}
    assert found["configuration"]["state"] == "ok"
    assert found["DNS"]["state"] == "ok"
    assert found["port"]["state"] == "ok"
    assert found["token"]["state"] == "ok"
    assert found["clock"]["state"] == "ok"
    assert found["version"]["state"] == "warn", "the fake is 1.2.3"
    assert found["domain hello.invalid"]["state"] == "fail"
    assert "A record" in found["domain hello.invalid"]["next"]
    assert (done.returncode, report["ok"]) == (1, False)
    told = await bench.haloy("doctor", "-s", f"127.0.0.1:{free_port()}")
    assert told.returncode == 1
    assert "→ check that haloyd runs" in told.stdout


async def test_rollback_reports(bench: Bench) -> None:
    """What was gone back to, for programs; an app without history has none."""
    bench.configure()
    none = await bench.haloy("rollback-targets")
    assert "no deployment to go back to" in none.stdout
    stored = {"name": "shop", "server": bench.server, "image": {"repository": "shop"}}
    bench.deployments.kept[AppName("shop")] = (
        RollbackTarget(DeploymentId(ID), f"shop:{ID}", stored),
    )
    told = await bench.haloy("rollback-targets", "--json")
    assert json.loads(told.stdout)[0]["targets"] == [
        {"deploymentId": ID, "image": f"shop:{ID}"}
    ]
    done = await bench.haloy("rollback", "--no-logs", "--json")
    (report,) = json.loads(done.stdout)
    assert (report["ok"], report["rolledBackTo"]) == (True, ID)


async def test_rollback_tells_which_domains_go(bench: Bench) -> None:
    """Also where it does not ask: what is served now and not by the one before."""
    bench.configure(name="hello")
    running_app(bench)
    common = {"name": "hello", "server": bench.server, "image": {"repository": "hello"}}
    for aliases, said in (([], True), (["www.hello.localhost"], False)):
        domains = [{"domain": "hello.localhost", "aliases": aliases}]
        target = RollbackTarget(DeploymentId(ID), "x:1", {**common, "domains": domains})
        bench.deployments.kept[AppName("hello")] = (target,)
        done = await bench.haloy("rollback", "--no-logs", "--yes")
        assert done.returncode == 0, done.stderr
        assert ("www.hello.localhost: not served after that" in done.stderr) is said


async def test_deployments_and_what_they_changed(bench: Bench) -> None:
    """The list, one against the one before it, any two, and taking one back."""
    bench.configure()
    assert "never deployed" in (await bench.haloy("deployments")).stdout
    newest, older = detail(3, "shop", "queued"), detail(1, "shop", "live")
    bench.deployments.past = [
        evolve(newest, config={"name": "shop", "replicas": 3}),
        evolve(older, config={"name": "shop", "replicas": 1, "port": "80"}),
    ]
    ids = [one.record.id for one in bench.deployments.past]
    listed = await bench.haloy("deployments")
    assert all(one in listed.stdout for one in ids)
    told = await bench.haloy("deployments", "--json", "--limit", "1")
    (report,) = json.loads(told.stdout)
    assert [one["deploymentId"] for one in report["deployments"]] == ids[:1]
    done = await bench.haloy("diff", ids[1])
    assert done.stdout.splitlines()[1:] == ["    ~ replicas: 1 -> 2"], done.stderr
    told = await bench.haloy("diff", ids[1], ids[0], "--json")
    assert json.loads(told.stdout)["changes"] == [
        {"key": "replicas", "before": "1", "after": "3"},
        {"key": "port", "before": "80", "after": None},
    ]
    done = await bench.haloy("cancel", ids[0])
    assert "taken back" in done.stdout
    assert bench.deployments.cancelled == [("shop", ids[0], "env")]
    assert (await bench.haloy("cancel", ids[1])).returncode == 1
    assert (await bench.haloy("diff", "01nothing")).returncode == 1


async def test_the_plan_shows_what_changes(bench: Bench) -> None:
    """CLI 9, point 24: before anything is done, and with --dry-run only that."""
    bench.configure(name="hello", image="hello:2", replicas=2)
    first = await bench.haloy("deploy", "--dry-run")
    assert "runs nowhere yet" in first.stdout
    here = hello(replica(1))
    bench.deployments.known["hello"] = here
    before = {"name": "hello", "image": {"repository": "hello:1"}, "replicas": 1}
    past = detail(1, "hello", "live")
    record = evolve(past.record, id=here.deployment)
    bench.deployments.past = [evolve(past, record=record, config=before)]
    (bench.folder / ".env").write_text("WORD\n")
    done = await bench.haloy("deploy", "--dry-run", "--tag", "3")
    assert "    ~ replicas: 1 -> 2" in done.stdout.splitlines(), done.stderr
    assert ".env:1: is no NAME=value" in done.stderr
    assert "hello:3" in done.stdout
    told = await bench.haloy("deploy", "--dry-run", "--json")
    (plan,) = json.loads(told.stdout)
    assert {"key": "replicas", "before": "1", "after": "2"} in plan["changes"]
    assert (plan["running"], plan["image"]) == (here.deployment, "hello:2")
    assert bench.deployments.taken == []


async def test_two_servers_and_one_that_is_not_there(bench: Bench) -> None:
    """CLI section 9, point 21: both targets are told; nothing was begun anywhere."""
    gone = f"127.0.0.1:{free_port()}"
    bench.configure(targets={"a": {}, "b": {"server": gone}})
    done = await bench.haloy("deploy", "--all")
    assert done.returncode in (1, 5), done.stderr
    assert "✖ a not deployed" in done.stderr
    assert f"✖ b server not available at http://{gone}" in done.stderr
    assert bench.deployments.taken == []
