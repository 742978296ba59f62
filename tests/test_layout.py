"""The tree keeps its shape: where modules are, where their tests are, and how long.

Every exception is written here with its reason, and an exception that is no
longer one fails too.
"""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "haloy").rglob("*.py")
    if path.name != "__init__.py"
)
LONGEST_LINES = 400
LONGEST_FUNCTION_LINES = 60
#: Packages with more modules say in their docstrings where things are.
LARGEST_WITHOUT_A_MAP = 12

#: Modules without C{tests/<package>/test_<module>.py}, and what tests them instead.
TESTED_ELSEWHERE: dict[str, str] = {
    # Parts of one request and one connection, tested whole, with real sockets.
    "haloy/proxy/keepalive.py": "tests/proxy/test_vanished_peers.py",
    "haloy/proxy/settings.py": "tests/proxy/split/test_worker.py",
    "haloy/proxy/parking.py": "tests/proxy/test_switch.py",
    "haloy/proxy/fast_request.py": "tests/proxy/test_fast_path.py",
    "haloy/proxy/split/spawning.py": "tests/proxy/split/test_worker_pool.py",
    "haloy/proxy/target.py": "tests/proxy/test_switch.py",
    "haloy/proxy/http2/multiplexed.py": "tests/proxy/http2/test_downstream.py",
    "haloy/proxy/http2/turn.py": "tests/proxy/http2/test_downstream.py",
    # Only protocols and values: whoever implements them is held to a contract.
    "haloy/certs/interface.py": "tests/certs/test_renewal.py",
    "haloy/deploy/interface.py": "tests/deploy/test_service.py",
    "haloy/engine/calls.py": "tests/engine/test_docker.py",
    "haloy/engine/interface.py": "tests/contracts/engine.py",
    "haloy/proxy/client.py": "tests/proxy/test_forwarding.py",
    "haloy/model/token.py": "tests/store/test_tokens.py",
    "haloy/model/event.py": "tests/store/test_events.py",
    # What every route uses, tested by the routes.
    "haloy/api/about.py": "tests/api/test_server.py",
    "haloy/api/agent.py": "tests/api/test_client.py",
    "haloy/api/asked.py": "tests/api/test_server.py",
    "haloy/api/body.py": "tests/api/test_images.py",
    "haloy/api/class_schema.py": "tests/api/test_openapi.py",
    "haloy/api/execution.py": "tests/api/test_operations.py",
    "haloy/api/gatekeeper.py": "tests/api/test_access.py",
    "haloy/api/logs.py": "tests/api/test_server.py",
    "haloy/api/multipart.py": "tests/api/test_images.py",
    "haloy/api/registries.py": "tests/api/test_operations.py",
    "haloy/api/server_log.py": "tests/api/test_operations.py",
    "haloy/api/shapes.py": "tests/api/test_openapi.py",
    "haloy/api/service.py": "tests/api/test_client.py",
    "haloy/api/spool.py": "tests/api/test_images.py",
    "haloy/api/takeover.py": "tests/api/test_tunnel.py",
    "haloy/api/terminal_server.py": "tests/api/test_terminal_client.py",
    "haloy/api/transport.py": "tests/api/test_client.py",
    "haloy/api/upgrade.py": "tests/api/test_client.py",
    # Only values: the schema that is made of them is tested.
    "haloy/cli/shapes.py": "tests/cli/test_output_schema.py",
    # What should serve changes as deployments do.
    "haloy/store/apps.py": "tests/store/test_deployments.py",
    # Both by the images that come and go.
    "haloy/deploy/pruning.py": "tests/api/test_images.py",
    "haloy/deploy/uploads.py": "tests/api/test_images.py",
    "haloy/api/pieces.py": "tests/api/test_client.py",
    "haloy/store/layers.py": "tests/api/test_images.py",
    # The commands are tried together, against the real API.
    "haloy/cli/apps.py": "tests/cli/test_commands.py",
    "haloy/cli/asking.py": "tests/cli/test_tty.py",
    "haloy/cli/completing.py": "tests/cli/test_completion.py",
    "haloy/cli/deployments.py": "tests/cli/test_commands.py",
    "haloy/cli/diagnosis.py": "tests/cli/test_commands.py",
    "haloy/cli/doctor.py": "tests/cli/test_commands.py",
    "haloy/cli/echo.py": "tests/cli/test_tty.py",
    "haloy/cli/execute.py": "tests/cli/test_commands.py",
    "haloy/cli/follow.py": "tests/cli/test_deploy.py",
    "haloy/cli/logs.py": "tests/cli/test_commands.py",
    "haloy/cli/plan.py": "tests/cli/test_deploy.py",
    "haloy/cli/provide.py": "tests/integration/test_upload.py",
    "haloy/cli/prune.py": "tests/cli/test_commands.py",
    "haloy/cli/registries.py": "tests/cli/test_commands.py",
    "haloy/cli/rollback.py": "tests/cli/test_deploy.py",
    "haloy/cli/status.py": "tests/cli/test_deploy.py",
    "haloy/cli/stop.py": "tests/cli/test_deploy.py",
    "haloy/cli/targets.py": "tests/cli/test_commands.py",
    "haloy/cli/tokens.py": "tests/cli/test_commands.py",
    "haloy/cli/tunnel.py": "tests/cli/test_commands.py",
    "haloy/cli/version.py": "tests/cli/test_main.py",
    # A process of its own is needed.
    "haloy/daemon/assemble.py": "tests/integration/test_deploy.py",
    "haloy/daemon/condition.py": "tests/integration/test_operations.py",
    "haloy/daemon/news.py": "tests/integration/test_api.py",
    "haloy/daemon/command/daemon.py": "tests/integration/test_operations.py",
    "haloy/daemon/command/engine.py": "tests/daemon/command/test_init.py",
    "haloy/proxy/control/dial.py": "tests/proxy/control/test_client.py",
    "haloy/proxy/launch.py": "tests/proxy/split/test_worker.py",
}

#: Modules over L{LONGEST_LINES} lines, and why they are not two.
LONG: dict[str, str] = {}
#: Functions over L{LONGEST_FUNCTION_LINES} lines, and why they are not two.
LONG_FUNCTIONS: dict[str, str] = {}


def _test_of(module: Path) -> Path:
    """Return where the tests of C{module} belong."""
    below = module.relative_to("haloy")
    return ROOT / "tests" / below.with_name(f"test_{below.name}")


def _long(module: Path) -> bool:
    with (ROOT / module).open() as source:
        return sum(1 for _ in source) > LONGEST_LINES


def test_every_module_has_its_test_file() -> None:
    """C{haloy/a/b.py} is tested by C{tests/a/test_b.py}, or it is said by what."""
    without = {str(module) for module in MODULES if not _test_of(module).exists()}
    assert without == TESTED_ELSEWHERE.keys()


def test_no_module_is_too_long() -> None:
    """A module over 400 lines has a reason, written above."""
    assert {str(module) for module in MODULES if _long(module)} == LONG.keys()


def test_no_function_is_too_long() -> None:
    """A function over 60 lines has a reason, written above."""
    long = {
        f"{module}: {node.name}"
        for module in MODULES
        for node in ast.walk(ast.parse((ROOT / module).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS.keys()


def test_what_tests_a_listed_module_exists() -> None:
    """The file that is said to test a module is there, and the module is."""
    for module, instead in TESTED_ELSEWHERE.items():
        assert (ROOT / module).exists(), module
        assert (ROOT / instead.split(":")[0]).exists(), instead


def test_the_files_that_take_longest_exist() -> None:
    """What is to begin first is there."""
    missing = [one for one in LONGEST if not (ROOT / one).exists()]
    assert not missing


def test_a_package_is_its_docstring_and_nothing_else() -> None:
    """C{__init__.py} is its docstring: what a package offers is in its modules."""
    for path in (ROOT / "haloy").rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) <= 1, path
        assert all(isinstance(one, ast.Expr) for one in body), path


def test_large_packages_say_where_things_are() -> None:
    """A large package has a map in its docstring; every module is on a map."""
    for path in (ROOT / "haloy").rglob("__init__.py"):
        modules = {one.stem for one in path.parent.glob("*.py")} - {"__init__"}
        packages = {one.parent.name for one in path.parent.glob("*/__init__.py")}
        named = re.findall(r"L\{([a-z0-9_]+)\}", path.read_text())
        if named or len(modules) > LARGEST_WITHOUT_A_MAP:
            assert set(named) == modules | packages, path


def test_every_module_says_what_it_knows() -> None:
    """Each module begins with a docstring."""
    bare = [
        str(module)
        for module in MODULES
        if not ast.get_docstring(ast.parse((ROOT / module).read_text()))
    ]
    assert not bare


def test_the_pure_modules_exist() -> None:
    """The contract in setup.cfg names no module that is gone."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg")
    names = contracts["importlinter:contract:pure"]["source_modules"].split()
    for name in names:
        path = ROOT.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").exists(), name


def test_shipped_text_names_no_place_of_the_machine_it_was_written_on() -> None:
    """Documents and examples hold for every checkout."""
    documents = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*"),
        *(ROOT / "changelog.d").glob("*.md"),
        *(ROOT / name for name in ("test", "quickstart", "noxfile.py")),
    ]
    for path in documents:
        if path.is_file():
            assert str(ROOT) not in path.read_text(errors="replace"), path
