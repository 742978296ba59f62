"""C{haloy validate-config}: all that is wrong, before anything is built or sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from haloy.cli.validate import validate_config_

Configure = Callable[..., None]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write C{haloy.yaml} into the current folder."""
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    monkeypatch.chdir(tmp_path)

    def write(**keys: Any) -> None:
        base = {"name": "shop", "image": "shop:1"}
        Path("haloy.yaml").write_text(yaml.safe_dump({**base, **keys}))

    return write


def _validate(*arguments: str) -> Result:
    return CliRunner().invoke(validate_config_, arguments)


def test_a_good_one(configure: Configure) -> None:
    """Exit code 0, and the file is named."""
    configure()
    done = _validate()
    assert (done.exit_code, done.stdout) == (0, "● haloy.yaml is valid\n")


def test_every_target_is_looked_at(configure: Configure) -> None:
    """One problem of each: a second run does not bring the next."""
    missing = {"build_config": {"context": "nowhere"}}
    configure(
        targets={
            "a": {"image": missing},
            "b": {"image": "b:1"},
            "c": {"image": "c:1", "env": [{"name": "A", "from": {"env": "NOWHERE"}}]},
        }
    )
    report = json.loads(_validate("--json").stdout)
    assert report["ok"] is False
    first, second = report["problems"]
    assert "nowhere" in first
    assert "(target a)" in first
    assert second.startswith("haloy.yaml:")
    assert "targets.c: env[0] (A)" in second
    done = _validate()
    assert done.exit_code == 3
    assert done.stderr.count("✖") == 2


def test_a_target_with_several_mistakes(configure: Configure) -> None:
    """A Dockerfile that is missing hides none of them, nor a secret that is."""
    missing = {"build_config": {"context": "nowhere"}}
    secret = {"name": "A", "from": {"env": "NOWHERE"}}
    configure(image=missing, port="abc", replicas=0, env=[secret])
    report = json.loads(_validate("--json").stdout)
    told = "\n".join(report["problems"])
    assert len(report["problems"]) == 3
    assert "port: " in told
    assert "replicas: " in told
    assert "nowhere: the build context" in told
    configure(image=missing, env=[secret])
    report = json.loads(_validate("--json").stdout)
    assert len(report["problems"]) == 2
    assert "env[0] (A)" in report["problems"][0]


def test_a_problem_is_shown_with_its_line(configure: Configure) -> None:
    """File, line, column, the line itself and a mark under it; no value on it."""
    configure(port="abc", env=[{"name": "A", "value": "s3cret", "fron": 1}])
    lines = _validate().stderr.splitlines()
    assert lines[0].startswith("✖ haloy.yaml:2:3: env[0].fron: unknown key; did you")
    assert lines[1:] == ["      2 | - fron: 1", "        |   ^"]
    configure(port="abc")
    lines = _validate().stderr.splitlines()
    assert lines[0].startswith("✖ haloy.yaml:3:1: port: ")
    assert lines[1:] == ["      3 | port: abc", "        | ^"]


def test_the_json_of_a_good_one(configure: Configure) -> None:
    """One document on stdout, and nothing beside it."""
    configure()
    assert json.loads(_validate("--json").stdout) == {
        "file": "haloy.yaml",
        "ok": True,
        "problems": [],
    }


def test_secrets_are_masked_unless_asked_for(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any literal value may be one: all of them are hidden."""
    monkeypatch.setenv("PASSWORD", "s3cret")
    configure(
        env=[
            {"name": "A", "from": {"env": "PASSWORD"}},
            {"name": "B", "value": "db://${A}@host"},
        ]
    )
    shown = _validate("--show-resolved-config")
    assert "name: B" in shown.stdout
    assert "s3cret" not in shown.stdout
    revealed = _validate("--show-resolved-config", "--reveal")
    assert "db://s3cret@host" in revealed.stdout


def test_no_secret_is_fetched_when_told(configure: Configure) -> None:
    """In CI, where they are out of reach, the rest can be checked all the same."""
    configure(env=[{"name": "A", "from": {"env": "NOWHERE"}}])
    assert _validate().exit_code == 3
    assert _validate("--no-secrets").exit_code == 0


def test_a_line_of_an_env_file_that_does_not_count(configure: Configure) -> None:
    """It is told where it stands, once for several targets, and never what it says."""
    configure(targets={"a": {}, "b": {}})
    Path(".env").write_text('A=1\n# why\nSECRET "abc"\n')
    done = _validate()
    assert (done.exit_code, done.stdout) == (0, "● haloy.yaml is valid\n")
    assert done.stderr == "⚠ .env:3: is no NAME=value and does not count\n"
