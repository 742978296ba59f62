"""Configurations as nobody meant them: a sentence with a place, never a crash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haloy.cli.main import main

WHOLE = """\
name: shop
server: haloy.example.com
image:
  repository: ghcr.io/me/shop
  build: true
  build_config: {context: ., args: [{name: A, value: "1"}]}
  history: {strategy: local, count: 3}
domains:
  - domain: shop.example.com
    aliases: [www.shop.example.com]
env:
  - {name: A, value: "x ${B}"}
  - name: B
    from: {env: HOME}
port: 8080
replicas: 2
health_check_path: /health
health_check_timeout: 5s
volumes: ["data:/data"]
resources: {memory: 512m, cpus: 0.5}
pre_deploy: ["true"]
targets:
  web: {replicas: 3}
  db: {preset: database, image: "postgres:18"}
"""
ODD = st.sampled_from(
    [
        *(
            "",
            "null",
            "~",
            "[]",
            "{}",
            "[[]]",
            "{a: {b: c}}",
            "-1",
            "0",
            "1e999",
            ".nan",
        ),
        *(
            "true",
            "0x1F",
            "1_000",
            "2026-11-26",
            "'",
            '"',
            "${",
            "${A}",
            "a: b: c",
            "\t",
        ),
        *("&a [*a]", "*nobody", "<<: {}", "!!python/object:os.system x", "!!binary x"),
        *(
            "- - -",
            "? x",
            "|",
            ">-",
            "%YAML 9.9",
            "---",
            "...",
            "é漢字",
            "\u202e",
            "\ufeff",
        ),
        *("x" * 5000, "[" * 200, "99999999999999999999", "../../etc", "a\x00b", "\r"),
    ]
)


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """Return the file with some of its lines and values changed."""
    lines = WHOLE.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["value", "key", "drop", "twice", "indent", "cut"]))
        line = lines[at]
        if how == "value":
            lines[at] = line.partition(":")[0] + ": " + draw(ODD)
        elif how == "key":
            lines[at] = re.sub(r"\w+", lambda _: draw(ODD), line, count=1)
        elif how == "drop":
            lines[at] = ""
        elif how == "twice":
            lines.insert(at, line)
        elif how == "indent":
            lines[at] = draw(st.sampled_from([" ", "   ", "\t", "- "])) + line
        else:
            lines[at] = line[: draw(st.integers(0, len(line)))]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with what the file speaks of."""
    made = tmp_path_factory.mktemp("odd")
    (made / "Dockerfile").write_text("FROM scratch\n")
    return made


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=spoiled())
def test_no_file_is_too_odd(
    folder: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is right, or it is told what is not, with exit code 2 or 3."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(folder / "client"))
    (folder / "haloy.yaml").write_text(text, encoding="utf-8", newline="")
    for command in (["validate-config"], ["targets"], ["validate-config", "--json"]):
        done = CliRunner().invoke(main, command)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert done.exit_code in {0, 2, 3}, done.output
        assert "itself has failed" not in done.output
        assert done.exit_code == 0 or done.stderr.strip()


@pytest.mark.parametrize("ending", ["yaml", "json", "toml"])
@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"\x00" * 100, b"", b"{", b"[[[", b"\xed\xa0\x80", b"a=" * 9],
)
def test_no_bytes_are_too_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, content: bytes
) -> None:
    """In each of the three languages; a folder in a file's place too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    (tmp_path / f"haloy.{ending}").write_bytes(content)
    done = CliRunner().invoke(main, ["validate-config"])
    assert done.exit_code == 3, done.output
    assert f"haloy.{ending}" in done.stderr
    (tmp_path / f"haloy.{ending}").unlink()
    (tmp_path / f"haloy.{ending}").mkdir()
    done = CliRunner().invoke(main, ["validate-config"])
    assert done.exit_code in {1, 3}
    assert "itself has failed" not in done.output
