"""The console blocks of the guide, typed in their order by somebody who is new."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.command import Command
from tests.support.haloyd import TOKEN
from tests.support.tty import ENTER, Tty

pytestmark = [pytest.mark.docker, pytest.mark.slow]

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
DOCKERFILE = """FROM app:one
RUN ["/bin/sh", "-c", "echo hello > /www/index.html"]
EXPOSE 8080
"""


def typed(document: str) -> list[str]:
    """Return what a page has one type, without what stands behind #."""
    text = (GUIDE / f"{document}.md").read_text()
    lines = re.findall(r"^\$ haloy (.*)$", text, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines]


def answer(*answers: tuple[str, str]) -> Callable[[Tty], int]:
    """Wait for each question and answer it."""

    def give(tty: Tty) -> int:
        for question, keys in answers:
            tty.until(question)
            tty.press(keys + ENTER)
        return tty.end()

    return give


def watch(text: str) -> Callable[[Tty], int]:
    """Look until C{text} is shown, and leave."""

    def look(tty: Tty) -> int:
        if text:
            tty.until(text)
        tty.until_listening()
        return tty.leave()

    return look


#: Who sits at the terminal, by the command; the others need nobody and end with 0.
PEOPLE: dict[str, tuple[Callable[[Tty], int], int]] = {
    "server add": (answer(("oken", TOKEN)), 0),
    "init": (
        answer(
            ("Name of the app [", ""),
            ("Server [", ""),
            ("Domain", "shop.example.test"),
            ("./Dockerfile?", "y"),
            ("container [8080]", ""),
            ("Replicas [1]", ""),
        ),
        0,
    ),
    "status": (watch("REPLICA"), 130),
    "logs": (watch(""), 130),
    "exec": (answer(("#", "exit")), 0),
    "rollback": (answer(("Go back?", "y")), 0),
    # The domain of this test leads nowhere, and doctor says so.
    "doctor": (Tty.end, 1),
}


def test_the_guide_can_be_typed(haloy: Command) -> None:
    """Quickstart, then strategies and rollbacks: each command does what it says."""
    haloy.environment |= {"DOCKER_BUILDKIT": "0", "NO_COLOR": ""}
    del haloy.environment["HALOY_API_TOKEN"]
    (haloy.folder / "Dockerfile").write_text(DOCKERFILE)
    done: list[str] = []

    def type_(line: str) -> str:
        line = line.replace("haloy.example.com", haloy.server)
        words = shlex.split(line)
        name = " ".join(words[:2]) if words[0] == "server" else words[0]
        person, code = PEOPLE.get(name, (Tty.end, 0))
        with Tty(haloy.folder, haloy.environment, *words, columns=120) as tty:
            got = person(tty)
            assert got == code, f"haloy {line}: {tty.shown()}"
            done.append(name)
            return tty.shown()

    said = {line: type_(line) for line in typed("quickstart")}
    assert "runs nowhere yet" in said["deploy --dry-run"]
    assert "→ https://shop.example.test" in said["deploy"]
    assert "server's docker: works" in said["doctor"]
    type_("deploy")  # something to go back from
    for line in typed("deploying"):
        words = line.split()
        if len(words) > 1 and words[0] == "rollback":  # an example's deployment
            (first, *_) = re.findall(r"[0-9a-z]{26}", type_("rollback-targets"))
            line = f"rollback {first}"
        said[line] = type_(line)
    assert "live" in said["deployments"]
    assert {"server add", "init", "exec", "doctor", "rollback", "diff"} <= {*done}
