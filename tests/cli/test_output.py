"""How the command speaks."""

from __future__ import annotations

from typing import Any

import pytest

from haloy.cli.output import Output, show_entry

Captured = pytest.CaptureFixture[str]


def test_streams_and_marks(capsys: Captured) -> None:
    """Problems go to stderr; empty lines are dropped."""
    output = Output()
    output.info("one\n\ntwo", "web")
    output.success("done")
    output.debug("detail")
    output.warn("careful")
    output.error("no")
    shown = capsys.readouterr()
    assert shown.out == "● web one\n● web two\n● done\n◆ detail\n"
    assert shown.err == "⚠ careful\n✖ no\n"


def test_quiet_keeps_problems(capsys: Captured) -> None:
    """--quiet leaves information out."""
    output = Output(quiet=True)
    for say in (output.info, output.success, output.debug, output.warn):
        say("x")
    assert capsys.readouterr() == ("", "⚠ x\n")


def test_json_has_stdout_for_itself(capsys: Captured) -> None:
    """What a program reads is one document."""
    output = Output(as_json=True)
    output.info("telling")
    output.line("bare")
    output.json({"a": "ü"})
    shown = capsys.readouterr()
    assert shown.out == '{\n  "a": "ü"\n}\n'
    assert shown.err == "● telling\n"


@pytest.mark.parametrize("cell", ["[red]at 8080[/red]", r"a\[b]", "took :x: [/]"])
def test_a_table_shows_what_servers_say_as_it_is(cell: str, capsys: Captured) -> None:
    """A reason in brackets is not taken for a colour, nor does it end the command."""
    Output().table(["REASON"], [[cell]])
    assert cell in capsys.readouterr().out


def test_piped_table_is_not_folded(capsys: Captured) -> None:
    """A long id stays on its line."""
    Output().table(["ID"], [["x" * 300]])
    assert "x" * 300 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({"level": "INFO", "message": "Started"}, "● Started\n"),
        (
            {"level": "info", "message": "Routed", "domains": ["a.com", "b.com"]},
            "● Routed (domains: a.com, b.com)\n",
        ),
        (
            {
                "level": "INFO",
                "message": "Deployed",
                "domains": ["a.com"],
                "isDeploymentSuccess": True,
            },
            "● Deployed → https://a.com\n",
        ),
        (
            {"level": "INFO", "message": "Deployed", "isDeploymentSuccess": True},
            "● Deployed\n",
        ),
        (
            {
                "level": "ERROR",
                "message": "Failed",
                "fields": {"error": "exit 1", "logs": "\nlast\nwords"},
            },
            "✖ Failed: exit 1\n✖ last\n✖ words\n",
        ),
        ({"level": "WARN", "message": "w"}, "⚠ w\n"),
        ({"level": "DEBUG", "message": "d"}, "◆ d\n"),
        ({"level": "ODD", "message": "o"}, "● o\n"),
        (
            {
                "level": "INFO",
                "message": "request",
                "fields": {
                    "method": "GET",
                    "host": "a.com",
                    "path": "/x",
                    "status": "200",
                    "duration_ms": "5",
                },
            },
            "● GET a.com/x → 200 (5 ms)\n",
        ),
    ],
)
def test_log_entries(capsys: Captured, entry: dict[str, Any], shown: str) -> None:
    """As `spec/cli.md` 1.5 renders them."""
    show_entry(Output(), entry)
    found = capsys.readouterr()
    assert found.out + found.err == shown
