"""`haloy deploy`, `rollback`, `status`, `logs` and `stop` against the real API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from haloy.deploy.interface import DeployRequest, LogEntry, RollbackTarget
from haloy.errors import EngineUnavailable
from haloy.model.names import DeploymentId
from tests.api.test_server import ID, hello, replica
from tests.fakes.deployments import NOW, FakeDeployments
from tests.support.cli import Bench


class Living(FakeDeployments):
    """Deployments that end as the test says, as soon as they are asked for."""

    ending: tuple[bool, dict[str, str]] = (False, {})

    async def submit(self, request: DeployRequest) -> None:
        await super().submit(request)
        failed, fields = self.ending
        last = LogEntry(
            "ERROR" if failed else "INFO",
            "Deployment of shop failed" if failed else "Deployed shop",
            NOW,
            "shop",
            request.id,
            ("shop.example.com",),
            fields,
            complete=True,
            failed=failed,
            seq=2,
        )
        first = LogEntry("INFO", "Deploying shop", NOW, "shop", request.id, seq=1)
        self.logs[request.id] = [first, last]


@pytest_twisted.async_yield_fixture
async def bench(reactor: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(reactor, tmp_path, Living())
    await found.start()
    yield found
    await found.stop()
    await deferLater(reactor, 0.01)


def taken(bench: Bench) -> DeployRequest:
    return bench.deployments.taken[-1]


async def test_deploy(bench: Bench) -> None:
    """The plan first, then what the server says, then the address."""
    bench.configure(domains=[{"domain": "shop.example.com"}], replicas=2)
    done = await bench.haloy("deploy")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"● shop → {bench.server}: shop:1, 2 replicas, rolling"
    assert lines[-1] == "● Deployed shop → https://shop.example.com"
    request = taken(bench)
    assert len(request.id) == 26
    assert request.target.replicas == 2


async def test_failed_deployment_fails_the_command(bench: Bench) -> None:
    """A14, CLI section 9 point 1: exit 6, the reason on the screen, no post hooks."""
    bench.configure(post_deploy=["touch after"], global_post_deploy=["touch last"])
    fields = {"error": "shop-1: it exited with code 3", "logs": "\nboom", "code": "e"}
    bench.deployments.ending = (True, fields)  # type: ignore[attr-defined]  # Living
    done = await bench.haloy("deploy")
    assert done.returncode == 6
    assert "✖ Deployment of shop failed: shop-1: it exited with code 3" in done.stderr
    assert "✖ boom" in done.stderr
    assert not (bench.folder / "after").exists()
    assert not (bench.folder / "last").exists()


async def test_hooks_run_in_order_with_variables(bench: Bench) -> None:
    """CLI section 9, point 2: global_post_deploy runs; hooks get HALOY_ variables."""
    bench.configure(
        global_pre_deploy=["echo a >> order"],
        pre_deploy=["echo b $HALOY_APP_NAME $HALOY_TARGET >> order"],
        post_deploy=["echo c $HALOY_DEPLOYMENT_ID >> order"],
        global_post_deploy=["echo d >> order"],
    )
    done = await bench.haloy("deploy")
    assert done.returncode == 0, done.stderr
    assert (bench.folder / "order").read_text().split("\n") == [
        "a",
        "b shop shop",
        f"c {taken(bench).id}",
        "d",
        "",
    ]


@pytest.mark.parametrize(("hook", "code"), [("exit 9", 1), (" ", 3)])
async def test_failing_hook_stops(bench: Bench, hook: str, code: int) -> None:
    """Nothing is asked of the server."""
    bench.configure(pre_deploy=[hook])
    done = await bench.haloy("deploy")
    assert (done.returncode, bench.deployments.taken) == (code, [])
    assert "pre_deploy[0]" in done.stderr


async def test_secrets_stay_out_of_what_is_stored(bench: Bench) -> None:
    """CLI section 9, point 5: references go there, and no token goes anywhere."""
    bench.configure(
        env=[
            {"name": "PASSWORD", "from": {"env": "SHOP_PASSWORD"}},
            {"name": "URL", "value": "db://${PASSWORD}@x"},
        ],
        api_token={"from": {"env": "HALOY_API_TOKEN"}},
    )
    done = await bench.haloy("deploy", environment={"SHOP_PASSWORD": "s3cret"})
    assert done.returncode == 0, done.stderr
    request = taken(bench)
    assert [one.value for one in request.target.env or ()] == [
        "s3cret",
        "db://s3cret@x",
    ]
    stored = json.dumps(request.stored)
    assert "s3cret" not in stored
    assert '"from": {"env": "SHOP_PASSWORD"}' in stored
    assert "apiToken" not in stored
    assert request.target.api_token is None


async def test_missing_variable_names_the_place(bench: Bench) -> None:
    """Exit code 3, file and key, and nothing is asked of the server."""
    bench.configure(env=[{"name": "A", "from": {"env": "NOT_THERE"}}])
    done = await bench.haloy("deploy")
    assert done.returncode == 3
    assert "NOT_THERE" in done.stderr
    assert bench.deployments.taken == []


async def test_dry_run_only_shows(bench: Bench) -> None:
    """The plan and nothing else."""
    bench.configure()
    done = await bench.haloy("deploy", "--dry-run")
    assert (done.returncode, bench.deployments.taken) == (0, [])
    assert "shop:1" in done.stdout


async def test_json_report(bench: Bench) -> None:
    """One document on stdout."""
    bench.configure()
    done = await bench.haloy("deploy", "--json")
    (report,) = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["deploymentId"] == taken(bench).id


async def test_several_targets_and_one_that_fails(bench: Bench) -> None:
    """CLI section 9, point 21: every failed target is told; exit code 7."""
    bench.configure(
        targets={
            "one": {"image": "one:1"},
            "two": {"image": "two:1", "pre_deploy": ["exit 1"]},
            "three": {"image": "three:1", "protected": True},
        }
    )
    done = await bench.haloy("deploy", "--all")
    assert done.returncode == 7
    assert [one.target.name for one in bench.deployments.taken] == ["one"]
    assert "✖ two pre_deploy[0]" in done.stderr
    assert "protected, not deployed: three" in done.stderr


async def test_one_name_is_built_in_one_way(bench: Bench) -> None:
    """CLI section 9, point 14: told before anything is built; alike is no problem."""

    def target(version: str) -> dict[str, Any]:
        args = [{"name": "VERSION", "value": version}]
        image = {"repository": "shop", "tag": "1", "build": True}
        return {"image": {**image, "build_config": {"args": args}}}

    bench.configure(image=None, targets={"web": target("1"), "worker": target("2")})
    done = await bench.haloy("deploy", "--all", "--dry-run")
    assert done.returncode == 3
    assert "targets web and worker build shop:1 in different ways" in done.stderr
    bench.configure(image=None, targets={"web": target("1"), "worker": target("1")})
    done = await bench.haloy("deploy", "--all", "--dry-run")
    assert done.returncode == 0, done.stderr


async def test_targets_must_be_chosen(bench: Bench) -> None:
    """--target is the same as --targets; an unknown one is named."""
    bench.configure(targets={"one": {"image": "one:1"}, "two": {"image": "two:1"}})
    assert (await bench.haloy("deploy")).returncode == 2
    done = await bench.haloy("deploy", "--target", "nope")
    assert done.returncode == 3
    assert "known: one, two" in done.stderr
    assert (await bench.haloy("deploy", "-t", "two,one", "-q")).returncode == 0
    names = [one.target.name for one in bench.deployments.taken]
    assert names == ["two", "one"]


async def test_unreachable_and_unauthorised(bench: Bench) -> None:
    """Exit codes 5 and 4, before anything is built."""
    bench.configure(server="127.0.0.1:1")
    assert (await bench.haloy("deploy")).returncode == 5
    bench.configure()
    done = await bench.haloy("deploy", environment={"HALOY_API_TOKEN": "wrong"})
    assert done.returncode == 4
    assert "haloy server add" in done.stderr


async def test_refused_request(bench: Bench) -> None:
    """The server's sentence is shown."""
    bench.configure()
    bench.deployments.refuse = EngineUnavailable("Docker is unreachable")
    done = await bench.haloy("deploy")
    assert done.returncode == 1
    assert "Docker is unreachable" in done.stderr


async def test_status(bench: Bench) -> None:
    """CLI section 9, point 23: replicas with health; 1 for what is not deployed."""
    bench.configure(name="hello")
    done = await bench.haloy("status")
    assert done.returncode == 1
    assert "hello is not deployed on" in done.stderr
    bench.deployments.known["hello"] = hello(replica(1), replica(2, draining=True))
    done = await bench.haloy("status")
    assert done.returncode == 0
    assert "hello.localhost" in done.stdout
    assert "healthy" in done.stdout
    assert "(draining)" in done.stdout
    (found,) = json.loads((await bench.haloy("status", "--json")).stdout)
    assert found["deploymentId"] == ID


async def test_rollback(bench: Bench) -> None:
    """The one before by default, with the secrets of today."""
    bench.configure(env=[{"name": "A", "from": {"env": "TODAY"}}])
    assert (
        "no deployment to go back to" in (await bench.haloy("rollback-targets")).stdout
    )
    stored = {
        "name": "shop",
        "server": bench.server,
        "image": {"repository": "shop", "tag": ID, "pullPolicy": "never"},
        "env": [
            {"name": "A", "from": {"env": "TODAY"}},
            {"name": "B", "value": "${A}!"},
        ],
    }
    bench.deployments.kept["shop"] = (
        RollbackTarget(DeploymentId(ID), f"shop:{ID}", stored),
    )
    shown = await bench.haloy("rollback-targets")
    assert ID in shown.stdout
    assert f"haloy rollback {ID}" in shown.stdout
    done = await bench.haloy("rollback", "01aaaaaaaa")
    assert (done.returncode, "01aaaaaaaa" in done.stderr) == (1, True)
    done = await bench.haloy("rollback", environment={"TODAY": "x"})
    assert done.returncode == 0, done.stderr
    request = taken(bench)
    assert request.rolled_back_from == ID
    values = [one.value for one in request.target.env or ()]
    assert values == ["x", "x!"], "CLI section 9, point 13"


async def test_stop(bench: Bench) -> None:
    """CLI section 9, point 18: volumes are not deleted without a yes."""
    bench.configure(name="hello")
    assert (await bench.haloy("stop")).returncode == 1
    bench.deployments.known["hello"] = hello(replica(1))
    assert (await bench.haloy("stop", "--remove-volumes")).returncode == 2
    refused = await bench.haloy("stop", "-r", "--remove-volumes")
    assert (refused.returncode, bench.deployments.stopped) == (2, [])
    done = await bench.haloy("stop", "-r", "--remove-volumes", "--yes")
    assert done.returncode == 0
    assert bench.deployments.stopped == [("hello", True, True)]


async def test_logs_of_nothing(bench: Bench) -> None:
    """An app that is not there, and two selectors at once."""
    bench.configure()
    assert (await bench.haloy("logs", "--no-follow")).returncode == 1
    both = await bench.haloy("logs", "--container", "x", "--all-containers")
    assert both.returncode == 2


async def test_validate_config(bench: Bench) -> None:
    """Paths and secrets are looked at, values masked, offline on wish."""
    bench.configure(env=[{"name": "A", "from": {"env": "NOT_THERE"}}])
    assert (await bench.haloy("validate-config")).returncode == 3
    done = await bench.haloy("validate-config", "--no-secrets")
    assert (done.returncode, "is valid" in done.stdout) == (0, True)
    bench.configure(env=[{"name": "A", "value": "s3cret"}])
    shown = await bench.haloy("validate-config", "--show-resolved-config")
    assert "s3cret" not in shown.stdout
    revealed = await bench.haloy(
        "validate-config", "--show-resolved-config", "--reveal"
    )
    assert "s3cret" in revealed.stdout
    bench.configure(image={"build_config": {"context": "nowhere"}})
    done = await bench.haloy("validate-config", "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert "nowhere" in report["problems"][0]
