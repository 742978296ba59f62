"""Compiled files that are damaged, lost, or another Python's."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from haloy.libraries import damage, foreign, load
from tests.support import twistd
from tests.support.checkout import copy_checkout

#: A library of this Python that any installation has somewhere.
LIBRARY = Path(sys.executable).resolve()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Give a package with a whole library in it."""
    made = tmp_path / "haloy"
    (made / "proxy" / "tls").mkdir(parents=True)
    (made / "proxy" / "tls" / "bulk.so").write_bytes(LIBRARY.read_bytes())
    return made


def test_whole_files_are_no_damage(package: Path) -> None:
    """Nor is this installation, whatever its form."""
    assert damage(str(package)) == damage() == ""


@pytest.mark.parametrize("left", [0, 63, 64, 10_000, -1])
def test_a_file_that_is_cut_off(package: Path, left: int) -> None:
    """It is named, with both sizes."""
    path = package / "proxy" / "tls" / "bulk.so"
    path.write_bytes(path.read_bytes()[:left])
    assert damage(str(package)).startswith(f"{path} has {path.stat().st_size} of ")


def test_what_is_no_library(package: Path) -> None:
    """It says nothing of its size; who loads it is told that it is none."""
    (package.parent / "haloy_proxy__mypyc.so").write_bytes(b"no library" * 20)
    assert damage(str(package)) == ""


def test_a_library_of_another_python(package: Path) -> None:
    """It is named where none is for this one."""
    assert foreign(str(package)) == foreign() == ""
    other = package.parent / "haloy_proxy__mypyc.cpython-99-x.so"
    other.touch()
    assert foreign(str(package)) == str(other)
    (package.parent / "haloy_proxy__mypyc.cpython-98-x.so").touch()
    assert foreign(str(package), (".cpython-98-x.so",)) == ""


def test_a_module_that_is_not_there() -> None:
    """One line, with what to do."""
    with pytest.raises(SystemExit, match=r"^me: .*haloy\.lost.*install Haloy again$"):
        load("haloy.lost", "me")
    assert load("haloy.libraries", "me").load is load


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """Give a copy of the program with a library, which loads as nothing does."""
    made = copy_checkout(tmp_path)
    suffix = EXTENSION_SUFFIXES[0]
    (made / f"haloy_proxy__mypyc{suffix}").write_bytes(LIBRARY.read_bytes()[:10_000])
    return made


@pytest.mark.parametrize("name", ["haloyd", "haloy-proxy", "version"])
def test_a_program_is_not_whole(installation: Path, name: str) -> None:
    """It ends with 1 and one line: neither killed by loading it, nor by a traceback."""
    command = (
        [sys.executable, "-m", "haloy.daemon.command.main", name]
        if name == "version"
        else [*twistd.COMMAND, "--nodaemon", "--pidfile=", name]
    )
    tried = subprocess.run(
        command, cwd=installation, capture_output=True, text=True, check=False
    )
    told = tried.stderr.splitlines()
    assert (tried.returncode, len(told)) == (1, 1), tried
    assert " has 10000 of " in told[0]
    assert told[0].endswith("; install Haloy again")
