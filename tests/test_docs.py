"""Documents name only what exists, and name all that they promise to name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from attrs import asdict

from haloy.cli import exits
from haloy.cli.main import main as haloy
from haloy.config.daemon_file import DaemonFile, parse_daemon_file
from haloy.config.load import load_app_document, parse_app_document
from haloy.daemon.command.main import main as haloyd
from haloy.model import labels

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PATH = re.compile(
    r"(haloy|tests|docs|bench|systemd|examples|scripts|twisted)/[\w./-]*"
)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file of the checkout, and its anchor a heading there."""
    for link in _LINK.findall(_text(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            headings = _HEADING.findall(_text(target))
            assert anchor in {one.lower().replace(" ", "-") for one in headings}, link


def test_every_page_is_reached_by_links() -> None:
    """Who begins with README.md and follows links finds all there is."""
    reached: set[Path] = set()
    found = [ROOT / "README.md"]
    while found:
        document = found.pop()
        if document in reached or document.suffix != ".md":
            continue
        reached.add(document)
        links = (link.partition("#")[0] for link in _LINK.findall(_text(document)))
        paths = [(document.parent / one).resolve() for one in links if one]
        found += [path / "README.md" if path.is_dir() else path for path in paths]
        found = [path for path in found if path.is_file()]
    assert not [one for one in DOCUMENTS if one not in reached]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_the_text_exist(document: Path) -> None:
    """What is written `like/this.py` is a file or folder of the checkout."""
    for code in _CODE.findall(_text(document)):
        # `./test tests/proxy` is a command, `<package>` stands for many.
        if _PATH.fullmatch(code) and "<" not in code:
            assert (ROOT / code).exists(), code


def test_the_architecture_names_every_package() -> None:
    """No package is missing from the table in docs/architecture.md."""
    told = _text(ROOT / "docs" / "architecture.md")
    for package in (ROOT / "haloy").iterdir():
        if (package / "__init__.py").exists():
            assert f"`haloy/{package.name}/`" in told


def test_the_layers_in_the_architecture_are_those_of_the_contract() -> None:
    """docs/architecture.md shows the layers that import-linter checks."""
    contract = _text(ROOT / "setup.cfg").split("layers =\n")[1].split("\n\n")[0]
    layers = "\n".join(line.strip() for line in contract.splitlines())
    assert f"```\n{layers}\n```" in _text(ROOT / "docs" / "architecture.md")


def test_every_decision_is_in_the_list() -> None:
    """docs/decisions/README.md links each decision, by its number."""
    folder = ROOT / "docs" / "decisions"
    linked = re.findall(r"\[(\d{4})\]\(([^)]+)\)", _text(folder / "README.md"))
    assert [name for _, name in linked] == sorted(
        path.name for path in folder.glob("[0-9]*.md")
    )
    assert all(name.startswith(number) for number, name in linked)


def test_the_daemon_file_is_documented_key_by_key() -> None:
    """docs/reference/haloyd-yaml.md has exactly the keys that haloyd knows."""
    told = re.findall(
        r"^\| `([\w.]+)` \|",
        _text(ROOT / "docs" / "reference" / "haloyd-yaml.md"),
        re.MULTILINE,
    )
    known = {
        f"{section}.{key.removesuffix('_s')}"
        for section, values in asdict(DaemonFile()).items()
        for key in values
    }
    # The one value whose key is not in its section.
    known = known - {"proxy.trusted_proxies"} | {"trusted_proxies"}
    assert sorted(told) == sorted(known)
    for key in told:
        section, _, name = key.rpartition(".")
        text = f"{section}:\n  {name}:\n" if section else f"{name}:\n"
        assert parse_daemon_file(text, "haloyd.yaml") == DaemonFile()


def test_the_exit_codes_are_documented() -> None:
    """docs/reference/exit-codes.md has the codes of haloy.cli.exits, by their names."""
    told = re.findall(
        r"^\| (\d+) \| `(\w+)` \|",
        _text(ROOT / "docs" / "reference" / "exit-codes.md"),
        re.MULTILINE,
    )
    known = {
        name: value
        for name, value in vars(exits).items()
        if name.isupper() and isinstance(value, int)
    }
    assert {name: int(code) for code, name in told} == known


def test_every_label_is_documented() -> None:
    """docs/reference/labels.md names each label that containers may carry."""
    told = _text(ROOT / "docs" / "reference" / "labels.md")
    named = [
        value
        for value in vars(labels).values()
        if isinstance(value, str) and value.startswith(labels.PREFIX)
    ]
    assert len(named) > 5
    for label in named:
        assert label in told


def test_the_labels_shown_are_understood() -> None:
    """The `docker run` line of docs/reference/labels.md describes an app to haloyd."""
    told = _text(ROOT / "docs" / "reference" / "labels.md")
    shown = dict(re.findall(r"--label ([\w.-]+)=(\S+)", told))
    described = labels.parse_labels(shown)
    assert described is not None
    assert described.app == "shop"
    assert [one.canonical for one in described.domains] == ["shop.example.com"]
    assert described.health.path == "/health"


def test_the_first_deploy_of_the_readme_is_valid(tmp_path: Path) -> None:
    """The haloy.yaml shown in README.md is accepted as it stands."""
    (shown,) = re.findall(r"```yaml\n(.+?)```", _text(ROOT / "README.md"), re.DOTALL)
    (tmp_path / "haloy.yaml").write_text(shown)
    (target,) = load_app_document(tmp_path).targets().values()
    assert (target.name, target.replicas, target.port) == ("shop", 2, "3000")


def test_every_promise_names_its_test() -> None:
    """The table of weak spots is complete; each row has a test on a real Docker."""
    rows = re.findall(
        r"^\| ([ACDE]\d+) \|.*\| `(tests/[^`]+)` \| `(test_\w+)` \|$",
        _text(ROOT / "docs" / "promises.md"),
        re.MULTILINE,
    )
    wanted = {f"D{number}" for number in range(1, 31)}
    wanted |= {f"C{number}" for number in range(1, 31)}
    wanted |= {f"E{number}" for number in range(1, 13)}
    wanted |= {f"A{number}" for number in range(1, 23)}
    assert {spot for spot, _, _ in rows} == wanted
    for spot, file, name in rows:
        assert f"def {name}(" in _text(ROOT / file), spot
        on_docker = spot[0] in "DE" and spot != "D24"  # which is of a script
        assert not on_docker or file.startswith("tests/integration/"), spot


GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
OPERATIONS = sorted((ROOT / "docs" / "operations").glob("*.md"))
PROGRAMS = {"haloy": haloy, "haloyd": haloyd}


@pytest.mark.parametrize("document", GUIDE, ids=lambda path: path.name)
def test_the_yaml_of_the_guide_is_accepted(document: Path) -> None:
    """Each example is (a part of) a haloy.yaml as it stands; CI's own is not."""
    for shown in re.findall(r"```yaml\n(.+?)```", _text(document), re.DOTALL):
        if not shown.startswith("jobs:"):
            parse_app_document(shown, document.name, "yaml")


@pytest.mark.parametrize("document", OPERATIONS, ids=lambda path: path.name)
def test_the_yaml_of_the_operations_is_accepted(document: Path) -> None:
    """Each example is (a part of) a haloyd.yaml as it stands; Prometheus' is not."""
    for shown in re.findall(r"```yaml\n(.+?)```", _text(document), re.DOTALL):
        if not shown.startswith("scrape_configs:"):
            parse_daemon_file(shown, document.name)


def _calls(text: str) -> Iterator[str]:
    """Yield every call of C{haloy} or C{haloyd} that a document shows, up to a pipe."""
    blocks = re.findall(r"```(?:console|sh)\n(.+?)```", text, re.DOTALL)
    prose = re.sub(r"```.+?```", "", text, flags=re.DOTALL)
    lines = [line.lstrip("$# ") for block in blocks for line in block.splitlines()]
    for shown in (*lines, *_CODE.findall(prose.replace("\n", " "))):
        if re.match(r"haloyd? [a-z]", shown):
            yield re.split(r" (?:[|>#<;]|&&|--) ", shown)[0]


def _refused(call: str) -> str:
    """Return why the command line is wrong, C{""}: it is not; nothing is run."""
    program, *words = shlex.split(call)
    command: click.Command = PROGRAMS[program]
    context = click.Context(command, info_name=program)
    while isinstance(command, click.Group) and words:
        below = command.get_command(context, words[0])
        if below is None:
            return f"{command.name} has no command {words[0]}"
        command, context = below, click.Context(below, parent=context)
        words = words[1:]
    try:
        _, surplus, _ = command.make_parser(context).parse_args(words)
    except click.UsageError as problem:
        return problem.format_message()
    return f"{' '.join(surplus)} is one too many" if surplus else ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_command_lines_that_are_shown_are_accepted(document: Path) -> None:
    """The command exists, and takes the options and arguments that it is given."""
    wrong = {call: _refused(call) for call in _calls(_text(document))}
    assert not {call: why for call, why in wrong.items() if why}


def test_a_wrong_command_line_would_be_found() -> None:
    """A missing command, an unknown option, an argument too many."""
    shown = "`haloy staus`, `haloyd\nbackup --all` and `haloy status APP`"
    assert [bool(_refused(call)) for call in _calls(shown)] == [True, True, True]
