"""The published schema of C{--json} is that of what is printed, command by command.

Beyond this walk every command that a test of this folder or of tests/integration runs
with C{--json} is checked by L{tests.support.printed}.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_twisted
from attrs import evolve
from jsonschema import Draft202012Validator
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from haloy.cli.output_schema import (
    BY_LINE,
    FILE,
    PRINTED,
    output_schema,
    render,
)
from haloy.deploy.interface import RollbackTarget
from haloy.model.names import AppName, DeploymentId
from tests.api.test_deployments import detail
from tests.api.test_server import ID, hello, replica
from tests.cli.test_commands import running_app
from tests.cli.test_every_command import ALL, WITHOUT
from tests.fakes.certificates import FakeCertificates, status
from tests.support.cli import Bench
from tests.support.ports import free_port
from tests.support.printed import check_document

ROOT = Path(__file__).parents[2]
DOMAIN = "hello.example.com"


@pytest_twisted.async_yield_fixture
async def bench(reactor: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a server on which every command finds something."""
    failed: dict[str, Any] = {
        "problem": "caa",
        "document": '{"type": "x"}',
        "failures": 2,
    }
    known = [status(DOMAIN, aliases=("b.example.com",)), status("c.de", **failed)]
    found = Bench(reactor, tmp_path, certificates=FakeCertificates(known))
    await found.start()
    found.configure(name="hello", domains=[{"domain": DOMAIN}])
    running_app(found, b"one\n")
    found.engine.passwords["ghcr.io"] = "secret"
    stored = {"name": "hello", "server": found.server, "image": {"repository": "hello"}}
    kept = RollbackTarget(DeploymentId(ID), f"hello:{ID}", stored)
    found.deployments.kept[AppName("hello")] = (kept,)
    newest, older = detail(3, "hello", "queued"), detail(1, "hello", "live")
    found.deployments.past = [
        evolve(newest, config={"name": "hello", "replicas": 3}),
        evolve(older, config={"name": "hello", "replicas": 1}),
    ]
    yield found
    await found.stop()
    await deferLater(reactor, 0.01)


#: The commands by what they are about. Each of these is a test of its own, as a process
#: for every command takes its time where others run.
PARTS = ("files", "servers", "tokens", "certificates", "looking", "changing")


def asking(bench: Bench) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return by part how each is asked, in an order in which all can answer."""
    newest, older = (one.record.id for one in bench.deployments.past)
    (bench.folder / "one.pem").write_text("KEY")
    asked: tuple[dict[str, tuple[str, ...]], ...] = (
        {
            "validate-config": ("--show-resolved-config",),
            "targets": (),
            "version": (),
            "init": ("--yes",),
        },
        {
            "server add": ("https://other.example.com", "t" * 64),
            "server list": (),
            "server delete": ("other.example.com",),
            "server version": (),
            "server registry login": ("ghcr.io", "-u", "me", "-p", "secret"),
            "server registry list": (),
            "server registry logout": ("ghcr.io",),
        },
        {
            "tokens create": ("ci", "--scope", "read"),
            "tokens list": (),
            "tokens revoke": ("ci",),
            "tokens audit": (),
        },
        {
            "certs list": (),
            "certs show": ("c.de",),
            "certs renew": (DOMAIN, "--no-wait"),
            "certs import": (DOMAIN, "one.pem"),
        },
        {
            "doctor": ("--server", bench.server),
            "apps": (),
            "status": (),
            "logs": ("--no-follow",),
            "deployments": (),
            "diff": (older, newest),
            "rollback-targets": (),
        },
        {
            "cancel": (newest,),
            "exec": ("--", "true"),
            "prune-images": (),
            "rollback": ("--no-logs", "--yes"),
            "deploy": ("--no-logs",),
            "stop": (),
        },
    )
    return dict(zip(PARTS, asked, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
async def test_what_each_command_prints(bench: Bench, part: str) -> None:
    """Of a real run each; L{Bench.haloy} holds it against the closed schema."""
    for name, arguments in asking(bench)[part].items():
        if name == "init":  # it asks for a folder without a configuration
            (bench.folder / "haloy.yaml").unlink()
        done = await bench.haloy(*name.split(), "--json", *arguments)
        assert done.returncode == 0, (name, done.stderr)
        assert len(done.stdout) > 10, name


async def test_every_command_is_asked(bench: Bench) -> None:
    """C{server logs} has a real server in C{tests/integration/test_command_line.py}."""
    asked = {name for part in asking(bench).values() for name in part}
    assert {*asked, "tunnel", "server logs"} == PRINTED.keys()


async def test_what_a_tunnel_prints(bench: Bench) -> None:
    """A document on a line, at once; then Ctrl+C."""
    bench.deployments.known["hello"] = hello(replica(1))

    def first_line() -> str:
        command = [sys.executable, "-m", "haloy.cli.main", "tunnel", "--json"]
        with subprocess.Popen(
            command, cwd=bench.folder, env=bench.variables(), stdout=-1, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=40) == 130
        return line

    bench.configure(name="hello", port=str(free_port()))
    check_document("tunnel", json.loads(await deferToThread(first_line)))


# --- the document ---------------------------------------------------------------------


def test_it_is_what_would_be_written() -> None:
    """Written anew by: python -m haloy.cli.output_schema docs/reference."""
    assert (ROOT / "docs" / "reference" / FILE).read_text() == render()


def test_it_describes_every_command() -> None:
    """Each that has C{--json}, and no other."""
    assert PRINTED.keys() == ALL.keys() - WITHOUT
    assert PRINTED.keys() > BY_LINE


def test_keys_have_one_spelling() -> None:
    """As in C{exitCode}; the API has versions otherwise (C{spec/api.md})."""
    schemas = output_schema()["$defs"].values()
    keys = {key for one in schemas for key in one.get("properties", ())}
    odd = {key for key in keys if not re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", key)}
    assert {key for key in odd if not re.match(r"haloyd?_", key)} == set()


def test_it_is_a_schema() -> None:
    """By the rules of its draft; every reference leads somewhere."""
    schema = output_schema()
    Draft202012Validator.check_schema(schema)
    named = re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema))
    assert {unquote(one) for one in named} == schema["$defs"].keys()


#: One good document of each kind of key: plain, C{null}, list, list of objects.
GOOD: dict[str, Any] = {
    "app": "shop",
    "before": None,
    "after": "b",
    "changes": [{"key": "replicas", "before": None, "after": "2"}],
}


def broken() -> Iterator[Any]:
    yield [GOOD]
    yield {**GOOD, "more": 1}
    yield {**GOOD, "after": None}
    yield {**GOOD, "changes": [{"key": "a", "before": 1, "after": "2"}]}
    yield {**GOOD, "changes": None}
    for key in GOOD:
        yield {one: value for one, value in GOOD.items() if one != key}


def test_a_broken_promise_is_noticed() -> None:
    """A key that goes, comes, or changes its type fails; published, one may come."""
    check_document("diff", GOOD)
    for one in broken():
        with pytest.raises(AssertionError):
            check_document("diff", one)
    open_one = {"$ref": "#/$defs/haloy%20diff", "$defs": output_schema()["$defs"]}
    published = Draft202012Validator(open_one)
    assert published.is_valid({**GOOD, "more": 1})
    assert not published.is_valid({**GOOD, "changes": None})
