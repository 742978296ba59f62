"""Where log lines go."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from twisted.logger import ILogObserver, Logger

from haloy.observers import choose_observer, json_observer, text_observer


def logger(observer: ILogObserver) -> Logger:
    return Logger(namespace="haloy.test", observer=observer)


def test_text_and_json_carry_the_same_event() -> None:
    """One call site, two forms."""
    text, machine = StringIO(), StringIO()
    for observer in (text_observer(text, False), json_observer(machine, False)):
        log = logger(observer)
        log.debug("hidden")
        log.info("replica {replica} ejected", replica="shop-1")
    assert text.getvalue().endswith("[haloy.test#info] replica shop-1 ejected\n")
    line = json.loads(machine.getvalue())
    assert line["message"] == "replica shop-1 ejected"
    assert line["replica"] == "shop-1"
    assert line["level"] == "INFO"


def test_the_form_that_the_configuration_asks_for(tmp_path: Path) -> None:
    """C{auto} is text unless the output is the journal's."""
    with (tmp_path / "log").open("w+") as stream:
        logger(choose_observer("json", stream, False, {})).info("one")
        logger(choose_observer("auto", stream, False, {})).info("two")
        elsewhere = {"JOURNAL_STREAM": "1:2"}
        logger(choose_observer("auto", stream, False, elsewhere)).info("three")
        stream.seek(0)
        first, second, third = stream.read().splitlines()
    assert json.loads(first)["message"] == "one"
    assert second.endswith("] two")
    assert third.endswith("] three")
