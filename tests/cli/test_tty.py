"""Commands in a real pseudo-terminal: what a person sees, and which keys do what."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import yaml
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from haloy.deploy.interface import LogEntry, RollbackTarget
from haloy.model.names import DeploymentId
from tests.api.test_server import ID, hello, replica
from tests.cli.test_deploy import Living
from tests.support.cli import Bench
from tests.support.tty import END_OF_FILE, ENTER, INTERRUPT, Tty

#: Everything that moves the cursor or colours text.
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-7][;m]")


class Staged(Living):
    """Deployments whose end comes when the test says so."""

    going_on: Deferred[None] | None = None

    async def follow(
        self,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        for entry in self.logs.get(deployment, ()):
            if entry.complete and self.going_on is not None:
                await self.going_on
            if entry.seq > after:
                await consume(entry)


@pytest_twisted.async_yield_fixture
async def bench(reactor: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(reactor, tmp_path, Staged())
    await found.start()
    found.environment["NO_COLOR"] = ""
    yield found
    await found.stop()
    await deferLater(reactor, 0.05)


def lines_of(tty: Tty) -> list[str]:
    return [line for line in tty.shown().splitlines() if line]


def answered(tty: Tty, keys: str) -> int:
    """Give an answer; return the exit code."""
    if keys == INTERRUPT:
        return tty.leave()
    tty.press(keys)
    return tty.end()


async def test_a_deployment_is_drawn_live(bench: Bench, reactor: Any) -> None:
    """While it lasts a line turns below; at the end only the lines are left."""
    bench.configure(domains=[{"domain": "shop.example.com"}])
    staged: Any = bench.deployments
    staged.going_on = Deferred()

    def watch(tty: Tty) -> tuple[str, list[str], int]:
        tty.until("● Deploying shop")
        # Whole, and of whatever second: a busy machine leaves some out.
        during = tty.until_fits(r" [1-9]\d* s shop → \S+  Deploying shop$")
        reactor.callFromThread(staged.going_on.callback, None)
        code = tty.end()
        return during, lines_of(tty), code

    during, after, code = await bench.in_terminal(watch, "deploy")
    assert code == 0
    assert " s shop →" in during.splitlines()[-1]
    assert after[-1] == "● Deployed shop → https://shop.example.com"
    assert not any(" s shop →" in line for line in after), after


async def test_lines_without_a_terminal(bench: Bench) -> None:
    """In CI: no byte that moves a cursor; the same with TERM=dumb and --quiet."""
    bench.configure()
    done = await bench.haloy("deploy")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr


async def test_interrupted_deployment(bench: Bench) -> None:
    """Ctrl+C is 130; it is told that the server goes on, and the cursor is back."""
    bench.configure()
    staged: Any = bench.deployments
    staged.going_on = Deferred()

    def leave(tty: Tty) -> int:
        tty.until(" s shop →")
        code = tty.leave()
        assert not tty.screen.cursor.hidden
        assert "continues on the server" in tty.shown()
        return code

    assert await bench.in_terminal(leave, "deploy") == 130
    staged.going_on.callback(None)


#: Two transfers under way; Enter ends them.
SENDING = """
from haloy.cli.output import Output
from haloy.cli.transfer import Transfer
transfer = Transfer(Output())
one = transfer.begin("one.example.com", 100 << 20)
two = transfer.begin("two.example.com", 50 << 20)
one(30 << 20); two(50 << 20)
input()
transfer.close()
"""


@pytest.mark.parametrize("columns", [100, 40])
def test_a_bar_for_each_server(tmp_path: Path, columns: int) -> None:
    """Both at once, each on one line; a narrow terminal leaves bytes and times out."""
    program = (sys.executable, "-c", SENDING)
    with Tty(tmp_path, os.environ, program=program, columns=columns) as tty:
        tty.until("two.example.com")
        tty.until("50.0/50.0 MiB" if columns > 80 else "100%")
        lines = lines_of(tty)
        tty.press(ENTER)
        assert tty.end() == 0
        assert not tty.screen.cursor.hidden
    assert [line.split()[0] for line in lines] == ["one.example.com", "two.example.com"]
    assert "30%" in lines[0] if columns < 80 else "30.0/100.0 MiB" in lines[0]


async def test_watching_status(bench: Bench) -> None:
    """The screen is drawn anew, never longer than one look; Ctrl+C is 130."""
    bench.configure(name="hello")
    bench.deployments.known["hello"] = hello(replica(1))

    def watch(tty: Tty) -> int:
        tty.until("REPLICA")
        bench.deployments.known["hello"] = hello(replica(1), replica(2))
        tty.until("│ 2 ")
        assert "\n".join(tty.screen.display).count("REPLICA") == 1
        return tty.leave()

    asked = ("status", "--watch", "--interval", "0.2")
    assert await bench.in_terminal(watch, *asked, columns=120) == 130


def kept(bench: Bench) -> None:
    """Have one deployment to go back to."""
    config = {"name": "shop", "image": {"repository": "shop", "tag": "0"}}
    bench.deployments.kept["shop"] = (
        RollbackTarget(DeploymentId(ID), "shop:0", config),
    )


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ("n" + ENTER, 1),
        (ENTER, 1),
        (END_OF_FILE, 1),
        (INTERRUPT, 130),
        ("y" + ENTER, 0),
    ],
)
async def test_rollback_asks(bench: Bench, keys: str, code: int) -> None:
    """Only y goes back; Enter, n, Ctrl+D and Ctrl+C leave everything as it is."""
    bench.configure()
    kept(bench)

    def answer(tty: Tty) -> int:
        tty.until("Go back?")
        return answered(tty, keys)

    assert await bench.in_terminal(answer, "rollback") == code
    assert len(bench.deployments.taken) == (not code)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ("n" + ENTER, 1),
        (ENTER, 1),
        (END_OF_FILE, 1),
        (INTERRUPT, 130),
        ("y" + ENTER, 0),
    ],
)
async def test_volumes_are_asked_for(bench: Bench, keys: str, code: int) -> None:
    """CLI section 9, point 18: data is never deleted by a slip."""
    bench.configure(name="hello")
    bench.deployments.known["hello"] = hello(replica(1))

    def answer(tty: Tty) -> int:
        tty.until("with all their data?")
        return answered(tty, keys)

    asked = ("stop", "-r", "--remove-volumes")
    assert await bench.in_terminal(answer, *asked) == code
    assert len(bench.deployments.stopped) == (not code)


async def test_init_asks(bench: Bench) -> None:
    """Questions with defaults; what is not right is asked again."""
    (bench.folder / "Dockerfile").write_text("FROM scratch\nEXPOSE 3000\n")

    def answer(tty: Tty) -> int:
        tty.until("Name of the app [")
        tty.press("My Shop!" + ENTER)
        tty.until("Error:")
        tty.press("shop" + ENTER)
        tty.until("Server")
        tty.press("haloy.example.com" + ENTER)
        tty.until("Domain")
        tty.press("shop.example.com" + ENTER)
        tty.until("./Dockerfile?")
        tty.press(ENTER)
        tty.until("Port of the container [3000]")
        tty.press(ENTER)
        tty.until("Replicas [1]")
        tty.press("2" + ENTER)
        return tty.end()

    assert await bench.in_terminal(answer, "init") == 0
    found = yaml.safe_load((bench.folder / "haloy.yaml").read_text())
    assert (found["name"], found["server"]) == ("shop", "haloy.example.com")
    assert str(found["port"]) == "3000"
    assert found["replicas"] == 2


async def test_init_asks_for_an_image_that_is_one(bench: Bench) -> None:
    """Who wants one pulled has to name it; a wrong one costs none of the answers."""

    def answer(tty: Tty) -> int:
        for question in ("Name of the app", "Server", "Domain"):
            tty.until(question)
            tty.press(ENTER)
        tty.until("Pull an image")
        tty.press("y" + ENTER)
        tty.until("Image:")
        tty.press(ENTER)
        tty.until_fits(r"Image:\s*\nImage:")
        tty.press("no image::" + ENTER)
        tty.until("Error: 'no image::' is not an image")
        tty.press("nginx:1" + ENTER)
        tty.until("Port of the container")
        tty.press(ENTER)
        tty.until("Replicas")
        tty.press(ENTER)
        return tty.end()

    assert await bench.in_terminal(answer, "init") == 0
    found = yaml.safe_load((bench.folder / "haloy.yaml").read_text())
    assert found["image"] == "nginx:1"


async def test_init_is_ended_by_ctrl_d(bench: Bench) -> None:
    """What is said then is on a line of its own."""

    def answer(tty: Tty) -> int:
        tty.until("Name of the app")
        tty.press(END_OF_FILE)
        code = tty.end()
        assert lines_of(tty)[-1] == "Aborted!", tty.shown()
        return code

    assert await bench.in_terminal(answer, "init") == 1


@pytest.mark.parametrize(("keys", "code"), [(INTERRUPT, 130), (END_OF_FILE, 1)])
async def test_init_is_left(bench: Bench, keys: str, code: int) -> None:
    """Nothing is written by questions that were not answered."""

    def leave(tty: Tty) -> int:
        tty.until("Name of the app")
        return answered(tty, keys)

    assert await bench.in_terminal(leave, "init") == code
    assert not (bench.folder / "haloy.yaml").exists()


async def test_colours(bench: Bench) -> None:
    """In a terminal there are some; NO_COLOR takes them away and nothing else."""
    bench.configure(name="hello")
    bench.deployments.known["hello"] = hello(replica(1))

    def look(tty: Tty) -> tuple[bytes, str]:
        assert tty.end() == 0
        return tty.raw, tty.shown()

    raw, shown = await bench.in_terminal(look, "status", columns=120)
    assert COLOUR.search(raw)
    raw, plain = await bench.in_terminal(look, "status", columns=120, NO_COLOR="1")
    assert not COLOUR.search(raw), raw
    assert plain == shown


async def test_forty_columns(bench: Bench) -> None:
    """Nothing is lost in a narrow terminal: rows become lines of name and value."""
    bench.configure(name="hello")
    bench.deployments.known["hello"] = hello(replica(1), replica(2))

    def look(tty: Tty) -> str:
        assert tty.end() == 0
        return tty.shown()

    wide = await bench.in_terminal(look, "status", columns=160)
    narrow = await bench.in_terminal(look, "status", columns=40)
    assert max(map(len, narrow.splitlines())) <= 40
    words = set(re.findall(r"[A-Za-z0-9.:]{3,}", wide))
    joined = narrow.replace("\n", "")
    assert [word for word in words if word not in joined] == []
    assert "│" not in narrow
    for command in (("apps", "-s", bench.server), ("--help",), ("deploy", "--help")):
        shown = await bench.in_terminal(look, *command, columns=40)
        assert max(map(len, shown.splitlines())) <= 40
