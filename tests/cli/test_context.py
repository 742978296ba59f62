"""What a command works on: targets, servers, tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from haloy.cli.context import (
    Project,
    by_server,
    choose,
    choose_servers,
    load_project,
    only_server,
)
from haloy.cli.options import Selection
from haloy.config.client_file import add_server
from haloy.errors import ConfigError, HaloyError, InvalidValue

Write = Callable[..., Project]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a configuration and load it, with a client folder of the test's own."""
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    monkeypatch.delenv("HALOY_API_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)

    def write(**keys: Any) -> Project:
        folder = tmp_path / "app"
        folder.mkdir(exist_ok=True)
        base = {"name": "shop", "image": "shop:1"}
        (folder / "haloy.yaml").write_text(yaml.safe_dump({**base, **keys}))
        return load_project(str(folder))

    return write


TWO = {"two": {"image": "two:1"}, "one": {"image": "one:1", "name": "web"}}


def test_one_app_needs_no_choice(project: Write) -> None:
    """Its name may be said all the same."""
    found = project()
    assert [one.app for one in found.select((), everything=False)] == ["shop"]
    assert [one.app for one in found.select(("shop",), everything=False)] == ["shop"]
    with pytest.raises(InvalidValue, match="no target 'web'; known: shop"):
        found.select(("web",), everything=False)


def test_several_targets_want_a_choice(project: Write) -> None:
    """Nothing is taken for granted: the names are listed."""
    with pytest.raises(click.UsageError, match="one, two"):
        project(targets=TWO).select((), everything=False)


def test_the_order_is_the_one_that_was_asked_for(project: Write) -> None:
    """CLI section 3: named targets as named, --all by name; none of them twice."""
    found = project(targets=TWO)
    named = found.select(("two", "one", "two"), everything=False)
    assert [one.name for one in named] == ["two", "one"]
    everything = found.select((), everything=True)
    assert [(one.name, one.app) for one in everything] == [
        ("one", "web"),
        ("two", "two"),
    ]


def test_names_and_all_contradict_each_other(project: Write) -> None:
    """One or the other."""
    with pytest.raises(click.UsageError, match="not both"):
        project(targets=TWO).select(("one",), everything=True)


def test_an_unknown_target_is_named(project: Write) -> None:
    """With those that there are."""
    with pytest.raises(InvalidValue, match=r"no target 'three'; known: one, two"):
        project(targets=TWO).select(("three",), everything=False)


def test_targets_are_grouped_by_what_their_server_means(project: Write) -> None:
    """CLI section 3: two spellings of one server are one group, in a stable order."""
    found = project(
        targets={
            "a": {"image": "a:1", "server": "https://one.example.com/x"},
            "b": {"image": "b:1", "server": "two.example.com"},
            "c": {"image": "c:1", "server": "one.example.com"},
        }
    )
    groups = by_server(found.select((), everything=True))
    assert {server: [one.name for one in them] for server, them in groups.items()} == {
        "one.example.com": ["a", "c"],
        "two.example.com": ["b"],
    }


def test_the_only_server_is_the_default(project: Write, tmp_path: Path) -> None:
    """A configuration without a server goes to the one that was added."""
    add_server(
        tmp_path / "client", "haloy.example.com", "t" * 64, force=False, ca_file=""
    )
    (one,) = project().select((), everything=False)
    assert one.server == "haloy.example.com"


def test_a_targets_own_token_comes_first(
    project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the one of C{server add}, then HALOY_API_TOKEN, then an error."""
    monkeypatch.setenv("SHOP_TOKEN", "own")
    monkeypatch.setenv("HALOY_API_TOKEN", "last")
    found = project(
        server="haloy.example.com", api_token={"from": {"env": "SHOP_TOKEN"}}
    )
    (one,) = found.select((), everything=False)
    assert found.token(one) == "own"
    found = project(server="haloy.example.com")
    (one,) = found.select((), everything=False)
    assert found.token(one) == "last"
    add_server(
        tmp_path / "client", "haloy.example.com", "added", force=False, ca_file=""
    )
    found = project(server="haloy.example.com")
    assert found.token(one) == "added"


def test_no_token_says_how_to_give_one(project: Write) -> None:
    """C{haloy server add} is named."""
    found = project(server="haloy.example.com")
    (one,) = found.select((), everything=False)
    with pytest.raises(HaloyError, match="haloy server add"):
        found.token(one)


def test_a_problem_of_a_value_gets_its_place(project: Write) -> None:
    """File, line and column of the key, or of what it was inherited from."""
    found = project(port="1", targets=TWO)
    told = found.located(InvalidValue("is odd", field="image.repository"), "one")
    line = found.path.read_text().splitlines().index("    image: one:1") + 1
    assert (told.path, told.line, told.column) == (str(found.path), line, 5)
    assert str(told).endswith("targets.one: image.repository: is odd")
    root = found.located(InvalidValue("is odd", field="port"), "one")
    assert root.line == found.path.read_text().splitlines().index("port: '1'") + 1


def test_the_only_target_needs_no_choice(project: Write) -> None:
    """CLI section 9, point 16: a file with one target is like one without."""
    (one,) = project(targets={"web": {}}).select((), everything=False)
    assert one.name == "web"


def test_a_near_miss_is_suggested(project: Write) -> None:
    """Of targets and of apps."""
    found = project(targets=TWO)
    with pytest.raises(InvalidValue, match=r"--targets: .*did you mean .two."):
        found.select(("tow",), everything=False)
    with pytest.raises(InvalidValue, match=r"--app: .*did you mean .web."):
        found.select((), everything=False, app="wbe")
    (one,) = found.select((), everything=False, app="web")
    assert one.name == "one"


def test_a_server_needs_no_configuration(
    project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLI section 9, point 11: C{--server} with C{--app}; never an empty name."""
    monkeypatch.setenv("HALOY_API_TOKEN", "last")
    found, (one,) = choose(Selection(server="https://s.example.com/", app="shop"))
    assert (one.app, one.server, found.token(one)) == ("shop", "s.example.com", "last")
    with pytest.raises(click.UsageError, match="--app"):
        choose(Selection(server="s.example.com"))
    with pytest.raises(ConfigError, match="haloy init"):
        choose(Selection(app="shop"))
    with pytest.raises(ConfigError, match=r"haloy\.yaml"):
        choose(Selection())
    add_server(tmp_path / "client", "one.example.com", "t", force=False, ca_file="")
    _, (one,) = choose(Selection(app="shop"))
    assert one.server == "one.example.com"
    add_server(tmp_path / "client", "two.example.com", "t", force=False, ca_file="")
    with pytest.raises(click.UsageError, match=r"one\.example\.com, two"):
        choose(Selection(app="shop"))


def test_servers_are_those_of_the_targets(project: Write) -> None:
    """Each once, all of them by default; some commands want one."""
    targets = {
        "a": {"server": "one.example.com"},
        "b": {"server": "two.example.com"},
        "c": {"server": "one.example.com"},
    }
    config = str(project(targets=targets).path)
    _, found = choose_servers(Selection(config=config))
    assert [one.name for one in found] == ["one.example.com", "two.example.com"]
    _, found = choose_servers(Selection(config=config, names=("b",)))
    assert [(one.name, one.server) for one in found] == [("b", "two.example.com")]
    _, found = choose_servers(Selection(config=config, server="three.example.com"))
    assert [one.server for one in found] == ["three.example.com"]
    with pytest.raises(click.UsageError, match="one server"):
        only_server(Selection(config=config))
    _, one = only_server(Selection(config=config, names=("a",)))
    assert one.server == "one.example.com"
