"""What a command works on: targets, servers, tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from haloy.cli.context import (
    Project,
    by_server,
    load_project,
    located,
    target_options,
)
from haloy.config.client_file import add_server
from haloy.errors import ConfigError, HaloyError, InvalidValue, NotFound

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
    with pytest.raises(InvalidValue, match="there is only one app here, shop"):
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
    with pytest.raises(InvalidValue, match=r"no target 'three' \(known: one, two\)"):
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


def test_a_problem_of_a_value_gets_its_file(project: Write) -> None:
    """Other problems stay as they are."""
    found = project()
    told = located(InvalidValue("is odd", field="port"), found)
    assert isinstance(told, ConfigError)
    assert str(told) == f"{found.path}: port: is odd"
    other = NotFound("gone")
    assert located(other, found) is other


def test_targets_come_by_commas_and_by_repeating() -> None:
    """-t, --target and --targets are the same; blanks and nothing are left out."""
    seen: list[tuple[str, ...]] = []

    @click.command()
    @target_options
    def command(config: str, names: tuple[str, ...], everything: bool) -> None:
        seen.append((config, *names, str(everything)))

    CliRunner().invoke(command, ["-t", "a, b", "--target", "c", "--targets", ",d"])
    CliRunner().invoke(command, ["-c", "x.yaml", "--all"])
    assert seen == [(".", "a", "b", "c", "d", "False"), ("x.yaml", "True")]
