"""The plugin is found however Haloy is installed, and the wheel holds what it should.

Nothing is downloaded: each environment is empty but for Haloy itself, and sees the
dependencies of the environment that runs the tests through C{PYTHONPATH}. That
way its C{.pth} files, which name this checkout, are not read.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from haloy.daemon.command.upgrade import NEEDED_BYTES
from tests.support.checkout import ROOT, copy_checkout

PLUGIN = "twisted/plugins/haloyd_plugin.py"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clean copy of the checkout, so that building dirties nothing."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(
        sys.executable,
        *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--no-index", "--wheel-dir", str(folder), str(checkout)),
        folder=folder,
    )
    (built,) = folder.glob("haloy-*.whl")
    return built


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Return the interpreter of a fresh, empty environment."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


def test_the_wheel_lists_haloyd(wheel: Path, python: Path, tmp_path: Path) -> None:
    """C{twistd --help} names haloyd after C{pip install haloy-*.whl}."""
    _install(python, str(wheel), folder=tmp_path)
    assert _listed(python, folder=tmp_path)


def test_an_editable_install_lists_haloyd(
    checkout: Path, python: Path, tmp_path: Path
) -> None:
    """C{twistd --help} names haloyd after C{pip install -e .}, from any directory."""
    _install(python, "--editable", str(checkout), folder=tmp_path)
    assert _listed(python, folder=tmp_path)


def test_a_checkout_lists_haloyd(checkout: Path, python: Path) -> None:
    """C{twistd --help} names haloyd in a checkout that is not installed."""
    assert _listed(python, folder=checkout)


def test_an_environment_without_haloy_does_not_list_it(
    python: Path, tmp_path: Path
) -> None:
    """The three tests above find what they installed, not this checkout."""
    assert not _listed(python, folder=tmp_path)


def test_the_wheel_holds_haloy_and_the_plugin_and_nothing_else(wheel: Path) -> None:
    """No tests, benches or caches are shipped; migrations and type marker are."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "haloy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    plugins = {
        str(path.relative_to(ROOT)) for path in ROOT.glob("twisted/plugins/*.py")
    }
    assert PLUGIN in plugins
    assert names == sources | plugins
    assert "haloy/py.typed" in names


def test_who_wants_it_compiled_is_told_what_is_missing(
    checkout: Path, tmp_path: Path
) -> None:
    """There is no wheel then, and not the other form in silence."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--wheel-dir", str(tmp_path), str(checkout)),
        ],
        env={**os.environ, "HALOY_COMPILED": "1", "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "there is no C compiler" in told, told
    assert "gcc libc6-dev python3-dev" in told
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.parametrize("compiled", ["0", "1"])
def test_what_a_build_of_its_own_fetches(checkout: Path, compiled: str) -> None:
    """Who compiles: all that the hot modules import, or mypy takes half of them.

    Everybody else: nothing but setuptools.
    """
    code = (
        "import json; from setuptools import build_meta\n"
        "print(json.dumps(build_meta.get_requires_for_build_wheel()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={**os.environ, "HALOY_COMPILED": compiled},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    fetched = {
        re.split("[>=]", one)[0] for one in json.loads(done.stdout.splitlines()[-1])
    }
    if compiled == "0":
        assert fetched == set()
        return
    listed = ast.literal_eval(
        re.search(r"HOT = (\(.*?\n\))", (ROOT / "setup.py").read_text(), re.S)[1]  # type: ignore[index]  # it is there
    )
    modules = {
        node.module.split(".")[0]
        for name in listed
        for node in ast.walk(ast.parse((ROOT / f"haloy/proxy/{name}.py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    # mypy brings mypy_extensions, Twisted brings zope.interface.
    foreign = modules - sys.stdlib_module_names - {"haloy", "mypy_extensions", "zope"}
    assert foreign <= fetched, foreign


def test_uninstalling_leaves_twisted_alone(
    wheel: Path, python: Path, tmp_path: Path
) -> None:
    """The wheel owns one file below C{twisted/}, not the package."""
    _install(python, str(wheel), folder=tmp_path)
    (site,) = tmp_path.glob("venv/lib/python*/site-packages")
    neighbour = site / "twisted" / "plugins" / "somebody_elses.py"
    neighbour.write_text("")
    assert (site / PLUGIN).exists()
    # By itself: with PYTHONPATH pip would find the Haloy that runs the tests first.
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    _run(*pip, "uninstall", "--yes", "haloy", folder=tmp_path, path="")
    assert not (site / PLUGIN).exists()
    assert not (site / "haloy").exists()
    assert neighbour.exists()


def test_the_commands_are_installed(wheel: Path, python: Path, tmp_path: Path) -> None:
    """C{haloy} and C{haloyd} are on the path and know their help."""
    _install(python, str(wheel), folder=tmp_path)
    for command in ("haloy", "haloyd"):
        told = _run(str(python.with_name(command)), "--help", folder=tmp_path)
        assert "Usage: " in told


@pytest.mark.slow
def test_the_script_installs_and_takes_away(wheel: Path, tmp_path: Path) -> None:
    """Into a home of its own, with completion; others' files stay."""
    home = tmp_path / "home dir"
    home.mkdir()
    variables = {
        **{key: one for key, one in os.environ.items() if not key.startswith("XDG_")},
        "HOME": str(home),
        "SHELL": "/bin/bash",
        "PYTHON": sys.executable,
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FORCE_REINSTALL": "1",
    }
    variables.pop("DIR", None)

    def script(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(ROOT / "install-cli.sh"), *arguments],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    command = home / ".local" / "bin" / "haloy"
    done = script(str(wheel))
    assert done.returncode == 0, done.stderr
    assert "is not in your PATH" in done.stdout
    told = subprocess.run(
        [str(command), "version"], env=variables, capture_output=True, check=True
    )
    assert told.stdout.strip()
    completion = home / ".local/share/bash-completion/completions/haloy"
    assert "_HALOY_COMPLETE" in completion.read_text()
    assert script("no-such-package-of-haloy").returncode == 1
    (tmp_path / "checkout").mkdir()
    refused = script("checkout")
    assert refused.returncode == 1
    assert "pyproject.toml" in refused.stderr + refused.stdout, "it is taken for a name"
    assert command.exists(), "what failed has changed nothing"
    assert script("--remove").returncode == 0
    assert not command.exists()
    assert not completion.exists()
    assert not (home / ".local/share/haloy").exists()
    command.write_text("another's")
    assert script(str(wheel)).returncode == 1
    script("--remove")
    assert command.read_text() == "another's"


@pytest.mark.slow
def test_the_script_of_a_checkout_installs_the_checkout(tmp_path: Path) -> None:
    """As the guide has it typed, without an argument; by a pipe the index is asked."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")  # which nobody can build
    text = (ROOT / "install-cli.sh").read_text()
    variables = {
        **{key: one for key, one in os.environ.items() if not key.startswith("XDG_")},
        "HOME": str(tmp_path / "home"),
        "PYTHON": sys.executable,
        "PIP_NO_INDEX": "1",
    }

    def said(*command: str, given: str = "") -> str:
        done = subprocess.run(
            command,
            env=variables,
            cwd=tmp_path,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stdout + done.stderr

    asks_the_index = "No matching distribution found for haloy"
    assert asks_the_index in said("sh", given=text)
    (tmp_path / "install-cli.sh").write_text(text)
    assert asks_the_index not in said("sh", "install-cli.sh")


def _install(python: Path, *what: str, folder: Path) -> None:
    """Install without a network: the build backend is the tests' own."""
    _run(
        *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
        *("--no-deps", "--no-build-isolation", "--no-index", *what),
        folder=folder,
    )


def _listed(python: Path, folder: Path) -> bool:
    """Return whether C{twistd --help}, run in C{folder}, has a line for haloyd."""
    # As twistd's own script does it: the current directory comes first.
    script = (
        "import sys; sys.path.insert(0, ''); sys.argv[0] = 'twistd'; "
        "from twisted.scripts.twistd import run; run()"
    )
    told = _run(str(python), "-c", script, "--help", folder=folder)
    assert "web " in told, told  # Twisted's own plugins are listed in any case
    return any(line.split()[:1] == ["haloyd"] for line in told.splitlines())


def _run(
    *command: str,
    folder: Path,
    path: str = sysconfig.get_path("purelib"),
) -> str:
    """Return what C{command} prints; fail with all of it when it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **{
                key: value for key, value in os.environ.items() if "COVERAGE" not in key
            },
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_both_ways_of_installing_want_the_same_room() -> None:
    """install.sh runs where no Haloy is, so the number stands there, too."""
    (needed_mib,) = re.findall(r"needed_mib=(\d+) #", (ROOT / "install.sh").read_text())
    assert int(needed_mib) << 20 == NEEDED_BYTES
