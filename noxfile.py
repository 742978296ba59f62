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
    "lint", "types", "imports", "news", "docs", "wheel", "tests", "compiled",
    "outside", "measured",
]  # fmt: skip

BIN = Path(sys.executable).parent
CODE = ("haloy", "tests", "twisted", "bench", "scripts", "noxfile.py")
#: Tests that need programs that are not ours, or much time.
OUTSIDE = "docker or acme or slow"
CORES = len(os.sched_getaffinity(0))
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
PYTHON = COMPILED / "venv" / "bin" / "python"
#: Which run of `./test` has built it.
BUILT_BY = COMPILED / "built-by"
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


def several_files(at_once: int) -> tuple[str, ...]:
    """Return arguments: the tests of so many files at once, of eight at most.

    A file's tests are in one process, as they share what it has started. They begin in
    the order that `tests/conftest.py` gives them, not with the file of most tests.
    """
    number = str(min(at_once, 8))
    return "-n", number, "--dist", "loadfile", "--no-loadscope-reorder"


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
def wheel(session: nox.Session) -> None:
    """Can the wheel be built whose hot modules are compiled, and installed?

    Into an environment of its own, which sees the dependencies of this one.
    """
    shutil.rmtree(COMPILED, ignore_errors=True)
    _compile(session)
    BUILT_BY.write_text(os.environ.get("HALOY_TEST_RUN", ""))


@nox.session
def compiled(session: nox.Session) -> None:
    """Do the proxy's tests pass on that wheel, in a folder without sources?

    `./test` builds it beside other tests; else it is built here.
    """
    run = os.environ.get("HALOY_TEST_RUN")
    if not (run and BUILT_BY.exists() and BUILT_BY.read_text() == run):
        wheel(session)
    for name in ("tests", "pyproject.toml"):
        _copy(name, COMPILED / "run")
    session.chdir(COMPILED / "run")
    chosen = session.posargs or ("-m", "not docker and not acme", *OF_THE_PROXY)
    environment = {**os.environ, "HALOY_TEST_FORM": "compiled"}
    session.run(
        *(str(PYTHON), "-P", "-m", "pytest", "-q", "--durations=10"),
        *(*several_files(CORES + 1), *chosen),
        env=environment,
        external=True,
    )  # fmt: skip


def _compile(session: nox.Session) -> None:
    """Make the environment with the compiled wheel."""
    offline = ("--quiet", "--no-deps", "--no-index")
    for name in PACKAGED:
        _copy(name, COMPILED / "source")
    _run(
        session,
        *("pip", "wheel", *offline, "--no-build-isolation"),
        *("--wheel-dir", str(COMPILED), str(COMPILED / "source")),
        env={**os.environ, "HALOY_COMPILED": "1"},
    )
    (built,) = COMPILED.glob("haloy-*.whl")
    _run(session, "python", "-m", "venv", "--without-pip", str(COMPILED / "venv"))
    (site,) = COMPILED.glob("venv/lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _run(session, "pip", "--python", str(PYTHON), "install", *offline, str(built))


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
    chosen = ("-m", f"not ({OUTSIDE})", "--durations=10")
    measured = ("coverage", "run", "-m", "pytest", *chosen, *several_files(CORES + 1))
    _run(session, *measured, env=environment)
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
def fast(session: nox.Session) -> None:
    """Does it work by itself? With arguments, what they choose of it.

    These may want --pdb, which needs one process.
    """
    chosen = session.posargs or several_files(CORES + 1)
    _run(session, "pytest", "-m", f"not ({OUTSIDE})", *chosen)


@nox.session
def outside(session: nox.Session) -> None:
    """Does it work with Docker, with a certificate authority, and on a bad day?

    Without coverage: these tests start a thousand processes and look at the clock.
    """
    others = [f"--ignore={path}" for path in MEASURING]
    # They wait for most of their time.
    chosen = (*several_files(CORES + 2), *others)
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
