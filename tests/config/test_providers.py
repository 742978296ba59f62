from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from attrs import evolve

from haloy.config.app_file import (
    CommandSource,
    FileSource,
    OnePasswordSource,
    SopsSource,
)
from haloy.config.providers import Source, Surroundings, fetch
from haloy.errors import ConfigError


def _tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Return surroundings whose PATH begins with a folder of their own."""
    path = f"{tmp_path}:{os.environ['PATH']}"
    return Surroundings(tmp_path, {"PATH": path, "KEY": "from .env"})


def _error(source: Source, around: Surroundings) -> str:
    with pytest.raises(ConfigError) as caught:
        fetch(source, around)
    return str(caught.value)


def test_1password_is_asked_for_one_item(around: Surroundings) -> None:
    """By its published form: fields by label, the last of two counts."""
    item = {
        "fields": [
            {"label": "user", "value": "u"},
            {"label": "db password", "value": "p"},
            {"label": "user", "value": "v"},
            {"label": "note"},
            {"value": "no label"},
        ]
    }
    _tool(
        around.folder,
        "op",
        f"echo \"$@\" > asked\ncat <<'END'\n{json.dumps(item)}\nEND",
    )
    source = OnePasswordSource("Servers", "shop", "team.1password.eu")
    assert fetch(source, around) == {"user": "v", "db password": "p", "note": ""}
    assert (around.folder / "asked").read_text() == (
        "item get shop --vault Servers --format json --account team.1password.eu\n"
    )


@pytest.mark.parametrize("output", ["", "[]", "{}", "nope", '{"fields": 1}'])
def test_1password_that_prints_something_else(
    around: Surroundings, output: str
) -> None:
    """Is an error, not a traceback."""
    _tool(around.folder, "op", f"echo '{output}'")
    assert "parse" in _error(OnePasswordSource("v", "i"), around)


def test_sops_gives_texts_by_path(around: Surroundings) -> None:
    """Nested keys are joined by dots; scalars become plain texts."""
    _tool(
        around.folder,
        "sops",
        'echo "$@ $KEY" > asked\n'
        "printf 'users:\\n  - name: a\\n  - name: b\\n"
        "on: true\\nn: 1e20\\nf: 1.50\\nnone:\\nday: 2026-01-01\\n'",
    )
    assert fetch(SopsSource("secrets/app.yaml"), around) == {
        "users.0.name": "a",
        "users.1.name": "b",
        "on": "true",
        "n": "100000000000000000000",
        "f": "1.5",
        "none": "",
        "day": "2026-01-01",
    }
    assert (around.folder / "asked").read_text() == (
        f"decrypt --output-type yaml {around.folder}/secrets/app.yaml from .env\n"
    )


def test_sops_formats(around: Surroundings) -> None:
    """The format is said, or told by the name; binary is refused."""
    _tool(around.folder, "sops", """[ "$3" = json ] && echo '{"a": 1}' || echo A=1""")
    assert fetch(SopsSource("x.json"), around) == {"a": "1"}
    assert fetch(SopsSource(".env"), around) == {"A": "1"}
    assert fetch(SopsSource("x.bin", "dotenv"), around) == {"A": "1"}
    assert "sops: validate" in _error(SopsSource("x.bin"), around)
    assert "sops: validate" in _error(SopsSource("x", "binary"), around)


def test_keys_with_dots_are_refused(around: Surroundings) -> None:
    """They could not be told from nested ones."""
    _tool(around.folder, "sops", "echo 'a.b: 1'")
    assert "'a.b'" in _error(SopsSource("x.yaml"), around)


def test_a_secret_that_does_not_parse_is_not_shown(around: Surroundings) -> None:
    """The parser's excerpt would be the secret."""
    _tool(around.folder, "sops", "echo 'a: hunter2: x'")
    said = _error(SopsSource("x.yaml"), around)
    assert "hunter2" not in said
    assert "x.yaml:1" in said


def test_a_tool_that_fails_tells_why(around: Surroundings) -> None:
    """Its own words, else its exit code; a missing one is named."""
    _tool(around.folder, "sops", "echo no key >&2; exit 3")
    assert _error(SopsSource("x.yaml"), around) == (
        "sops: decrypt: sops failed: no key"
    )
    _tool(around.folder, "sops", "exit 3")
    assert "exit code 3" in _error(SopsSource("x.yaml"), around)
    (around.folder / "sops").unlink()
    alone = Surroundings(around.folder, {"PATH": str(around.folder)})
    assert "not found in PATH" in _error(SopsSource("x.yaml"), alone)
    (around.folder / "sops").write_text("")
    assert "cannot be run" in _error(SopsSource("x.yaml"), alone)


def test_a_tool_that_takes_its_time_is_told_of(around: Surroundings) -> None:
    """After a second the person learns what is waited for."""
    fifo = around.folder / "fifo"
    os.mkfifo(fifo)
    _tool(around.folder, "op", "exec cat fifo")
    told: list[str] = []

    def notify(text: str) -> None:
        told.append(text)
        with fifo.open("w") as file:
            file.write('{"fields": [{"label": "a", "value": "1"}]}')

    patient = evolve(around, notify=notify, notice_s=0.01)
    assert fetch(OnePasswordSource("v", "i"), patient) == {"a": "1"}
    assert told == ["waiting for 1Password: approve the request, or unlock it"]


def test_a_tool_that_hangs_is_stopped(around: Surroundings) -> None:
    """Nothing waits for ever."""
    os.mkfifo(around.folder / "fifo")
    _tool(around.folder, "op", "exec cat fifo")
    hasty = evolve(around, notice_s=0.01, limit_s=0.01)
    assert "did not answer in 0.01 s" in _error(OnePasswordSource("v", "i"), hasty)


def test_an_interrupted_wait_leaves_no_tool(around: Surroundings) -> None:
    """Ctrl-C while waiting ends the tool too."""
    fifo = around.folder / "fifo"
    os.mkfifo(fifo)
    _tool(around.folder, "op", "echo $$ > pid; exec cat fifo")
    opened: list[int] = []

    def interrupt(_: str) -> None:
        # Opens once the tool has it open; kept open, the tool would read for ever.
        opened.append(os.open(fifo, os.O_WRONLY))
        raise KeyboardInterrupt

    hasty = evolve(around, notify=interrupt, notice_s=0.01)
    with pytest.raises(KeyboardInterrupt):
        fetch(OnePasswordSource("v", "i"), hasty)
    pid = int((around.folder / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
    os.close(opened[0])


def test_any_command(around: Surroundings) -> None:
    """What it prints is one text, or read in a format; no shell is in between."""
    assert fetch(CommandSource(("echo", "$HOME; x")), around) == {"value": "$HOME; x"}
    assert fetch(CommandSource(("printenv", "KEY")), around) == {"value": "from .env"}
    source = CommandSource(("printf", "A=1\\nB=2"), "dotenv")
    assert fetch(source, around) == {"A": "1", "B": "2"}
    assert fetch(CommandSource(("echo", "[1, x]"), "yaml"), around) == {
        "0": "1",
        "1": "x",
    }
    assert "xml" in _error(CommandSource(("true",), "xml"), around)
    assert "names no program" in _error(CommandSource(()), around)
    endless = CommandSource(("head", "-c", "2000000", "/dev/zero"))
    assert "1 MiB" in _error(endless, around)


def test_plain_files(around: Surroundings) -> None:
    """One text, a format told by the name, or a folder of files."""
    folder = around.folder
    (folder / "token").write_text("abc\n")
    (folder / "x.env").write_text("A=1\n")
    (folder / "x.json").write_text('"plain"')
    (folder / "many").mkdir()
    (folder / "many" / "user").write_text("u\n")
    (folder / "many" / "inner").mkdir()
    assert fetch(FileSource("token"), around) == {"value": "abc"}
    assert fetch(FileSource("x.env"), around) == {"A": "1"}
    assert fetch(FileSource("x.env", "text"), around) == {"value": "A=1"}
    assert fetch(FileSource("x.json"), around) == {"value": "plain"}
    assert fetch(FileSource(str(folder / "many")), around) == {"user": "u"}


def test_files_that_cannot_be_read(around: Surroundings) -> None:
    """Missing, too large, or no text."""
    assert "cannot be read: No such file" in _error(FileSource("nope"), around)
    (around.folder / "big").write_bytes(b"x" * ((1 << 20) + 1))
    assert "1 MiB" in _error(FileSource("big"), around)
    (around.folder / "bytes").write_bytes(b"\xff")
    assert "cannot be read" in _error(FileSource("bytes"), around)


def test_variables_are_not_shown(around: Surroundings) -> None:
    """The text form of the surroundings hides them."""
    assert "from .env" not in repr(around)
