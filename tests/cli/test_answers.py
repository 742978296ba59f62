"""How what several targets answered is told, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from haloy.cli.answers import of_server, tell_answers
from haloy.cli.context import Selected
from haloy.cli.output import Output
from haloy.config.app_file import Target
from haloy.errors import HaloyError, ServerUnreachable

Captured = pytest.CaptureFixture[str]

ONE = Selected("blue", Target(name="shop"), "one.example.com")
TWO = Selected("green", Target(name="shop"), "two.example.com")
AWAY = ServerUnreachable("two.example.com is away")


def told(output: Output, *answers: Any, **more: Any) -> int:
    def show(one: Selected, found: str, prefix: str) -> None:
        output.info(f"{one.app}: {found}", prefix)

    chosen = (ONE, TWO)[: len(answers)]
    return tell_answers(
        chosen, answers, output, lambda found: {"state": found}, show, **more
    )


def test_one_needs_no_name_in_front(capsys: Captured) -> None:
    """Its lines are as if there were no others."""
    assert told(Output(), "up") == 0
    assert capsys.readouterr().out == "● shop: up\n"


def test_several_are_told_apart(capsys: Captured) -> None:
    """Problems on stderr, all others shown; the code says that some failed."""
    assert told(Output(), "up", AWAY) == 7
    shown = capsys.readouterr()
    assert shown.out == "● blue shop: up\n"
    assert "green" in shown.err
    assert "two.example.com is away" in shown.err


def test_all_that_failed_give_their_own_code(capsys: Captured) -> None:
    """One class of failure, one exit code."""
    assert told(Output(), AWAY, AWAY) == 5
    assert capsys.readouterr().out == ""


def test_for_programs(capsys: Captured) -> None:
    """One document with every target in it, and problems on stderr as well."""
    output = Output(as_json=True)
    assert told(output, "up", HaloyError("no")) == 7
    shown = capsys.readouterr()
    names = {"app": "shop"}
    assert json.loads(shown.out) == [
        {"target": "blue", **names, "server": "one.example.com", "state": "up"},
        {
            "target": "green",
            **names,
            "server": "two.example.com",
            "error": "no",
            "code": "error",
        },
    ]
    assert "no" in shown.err


def test_servers_are_named_by_their_names(capsys: Captured) -> None:
    """Where no app is meant."""
    assert told(Output(as_json=True), "up", who=of_server) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"server": "one.example.com", "state": "up"}
    ]
    assert told(Output(), "up", "down", who=of_server) == 0
    assert "● two.example.com shop: down\n" in capsys.readouterr().out
