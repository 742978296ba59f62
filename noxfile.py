"""What `./test` runs, one session a question. `nox -l` lists them.

The sessions use the environment that nox itself runs in: `./test` makes it, once.
"""

import configparser
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = [
    "lint", "types", "imports", "news", "docs", "compiled", "tests", "outside",
    "measured",
]  # fmt: skip

BIN = Path(sys.executable).parent
CODE = ("haloy", "tests", "twisted", "bench", "scripts", "noxfile.py")
#: Tests that need programs that are not ours, or much time.
OUTSIDE = "docker or acme or slow"
#: The tests of so many files run at once, of eight at most: of one more than there are
#: cores, as they wait for much of their time. A file's tests are in one process: they
#: share what it has started.
AT_ONCE = min(len(os.sched_getaffinity(0)) + 1, 8)
SEVERAL_FILES = ("-n", str(AT_ONCE), "--dist", "loadfile")
#: Of these, what measures times or a process at rest: nothing runs beside them.
MEASURING = (
    "tests/integration/test_many.py",
    "tests/integration/test_times.py",
    "tests/proxy/test_slow_clients.py",
)
#: Where coverage of this run and of every process it starts is gathered.
DATA = Path(".nox") / "coverage"
#: After Ctrl+C tests get so long to remove what they have started.
TIDYING_S = 60.0
#: Where the compiled form is built, installed and tried.
COMPILED = Path(".nox").resolve() / "compiled"
PACKAGED = ("haloy", "twisted", "pyproject.toml", "setup.cfg", "setup.py",
            "README.md", "LICENSE")  # fmt: skip
#: The whole suite of the proxy, and of who says which form runs.
OF_THE_PROXY = (
    "tests/proxy",
    "tests/test_proxy_tap.py",
    "tests/daemon/command/test_version.py",
)
#: Its news about another program are no matter of ours.
MKDOCS = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}


@nox.session
def lint(session: nox.Session) -> None:
    """Is it formatted, and free of what ruff and shellcheck know?"""
    _run(session, "ruff", "format", "--check", *CODE)
    _run(session, "ruff", "check", *CODE)
    session.run(
        "shellcheck", "-x", "test", "quickstart", "install.sh", "install-cli.sh",
        ".ci/run",
        "scripts/setup.sh",
        external=True,
    )  # fmt: skip


@nox.session
def types(session: nox.Session) -> None:
    """Does mypy, strict, agree?"""
    _run(session, "mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Do imports point down, and do the pure modules stay pure?"""
    _run(session, "lint-imports")


@nox.session
def news(session: nox.Session) -> None:
    """Can the news of the next version be written?"""
    _run(session, "towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Do the documents name only what exists, and can the site be built of them?"""
    _run(session, "pytest", "-q", "tests/test_docs.py")
    _run(session, "mkdocs", "build", "--quiet", "--strict", env=MKDOCS)


@nox.session
def compiled(session: nox.Session) -> None:
    """Do the proxy's tests pass on a wheel whose hot modules are compiled?

    Built once, installed into an environment of its own that sees the dependencies of
    this one, and tried from a folder without sources.
    """
    shutil.rmtree(COMPILED, ignore_errors=True)
    python = _compiled_python(session)
    for name in ("tests", "pyproject.toml"):
        _copy(name, COMPILED / "run")
    session.chdir(COMPILED / "run")
    chosen = session.posargs or ("-m", "not docker and not acme", *OF_THE_PROXY)
    environment = {**os.environ, "HALOY_TEST_FORM": "compiled"}
    session.run(
        *(str(python), "-P", "-m", "pytest", "-q", "--durations=10"),
        *(*SEVERAL_FILES, *chosen),
        env=environment,
        external=True,
    )  # fmt: skip


def _compiled_python(session: nox.Session) -> Path:
    """Return the interpreter of an environment with the compiled wheel."""
    offline = ("--quiet", "--no-deps", "--no-index")
    for name in PACKAGED:
        _copy(name, COMPILED / "source")
    _run(
        session,
        *("pip", "wheel", *offline, "--no-build-isolation"),
        *("--wheel-dir", str(COMPILED), str(COMPILED / "source")),
        env={**os.environ, "HALOY_COMPILED": "1"},
    )
    (wheel,) = COMPILED.glob("haloy-*.whl")
    python = COMPILED / "venv" / "bin" / "python"
    _run(session, "python", "-m", "venv", "--without-pip", str(COMPILED / "venv"))
    (site,) = COMPILED.glob("venv/lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _run(session, "pip", "--python", str(python), "install", *offline, str(wheel))
    return python


def _copy(name: str, folder: Path) -> None:
    source = Path(name)
    if source.is_dir():
        kept_out = shutil.ignore_patterns("__pycache__", "dropin.cache")
        shutil.copytree(source, folder / name, ignore=kept_out)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)


@nox.session
def tests(session: nox.Session) -> None:
    """Does it work by itself? With arguments: what they choose, without coverage."""
    if session.posargs:
        _run(session, "pytest", *session.posargs)
        return
    DATA.parent.mkdir(exist_ok=True)
    environment = {**os.environ, "COVERAGE_FILE": str(DATA.resolve())}
    _run(session, "coverage", "erase", env=environment)
    chosen = ("-m", f"not ({OUTSIDE})", "--durations=10", *SEVERAL_FILES)
    _run(session, "coverage", "run", "-m", "pytest", *chosen, env=environment)
    _run(session, "coverage", "combine", "--quiet", env=environment)
    _run(session, "coverage", "report", "--skip-covered", env=environment)
    _run(
        session,
        "coverage",
        "report",
        f"--include={','.join(_pure())}",
        "--skip-covered",
        "--fail-under=100",
        env=environment,
    )


@nox.session
def outside(session: nox.Session) -> None:
    """Does it work with Docker, with a certificate authority, and on a bad day?

    Without coverage: these tests start a thousand processes and look at the clock.
    """
    others = [f"--ignore={path}" for path in MEASURING]
    chosen = (*SEVERAL_FILES, *others)
    _run(session, "pytest", "-m", OUTSIDE, "--durations=25", *chosen)


@nox.session
def measured(session: nox.Session) -> None:
    """Are the promised times kept, and is the daemon quiet at rest?"""
    _run(session, "pytest", "-m", OUTSIDE, "--durations=10", *MEASURING)


def _pure() -> list[str]:
    """Return the files of the modules that the contract `pure` names."""
    contracts = configparser.ConfigParser()
    contracts.read("setup.cfg")
    names = contracts["importlinter:contract:pure"]["source_modules"].split()
    paths = [Path(*name.split(".")) for name in names]
    return [f"{path}/*" if path.is_dir() else f"{path}.py" for path in paths]


def _run(session: nox.Session, tool: str, *arguments: str, **options: object) -> None:
    session.run(
        str(BIN / tool),
        *arguments,
        external=True,
        interrupt_timeout=TIDYING_S,
        **options,
    )
