"""The units that are shipped start what there is, inside a tight sandbox."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import units
from haloy import proxy_tap, tap

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "systemd"
SERVICES = ("haloyd.service", "haloy-proxy.service")
MOST_EXPOSED = 20  # in tenths: 2.0
ONE_PROCESS = "haloyd.service.d/one-process.conf"


def _unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep case
    assert unit.read(UNITS / name)
    return unit


def _need(program: str) -> None:
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize(
    "parts",
    [*((name,) for name in SERVICES), ("haloyd.service", ONE_PROCESS)],
    ids=lambda parts: parts[-1],
)
def test_the_sandbox_is_tight(parts: tuple[str, ...], tmp_path: Path) -> None:
    """C{systemd-analyze security} gives each unit at most 2.0.

    A drop-in is read as what is added to the end of its unit.
    """
    _need("systemd-analyze")
    unit = tmp_path / parts[0]
    unit.write_text("".join((UNITS / part).read_text() for part in parts))
    judged = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes", "--no-pager"),
            *(f"--threshold={MOST_EXPOSED}", str(unit)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Overall exposure level" in judged.stdout


@pytest.mark.parametrize(
    ("name", "options"),
    [("haloyd.service", tap.Options), ("haloy-proxy.service", proxy_tap.Options)],
)
def test_the_command_is_one_that_twistd_takes(name: str, options: type) -> None:
    """C{ExecStart} runs twistd in the foreground, by the link that upgrades change."""
    command = _unit(name)["Service"]["ExecStart"].split()
    # sys.executable, which starts the proxy's workers, follows the link.
    assert command[:2] == [f"/opt/haloy/venv/bin/{one}" for one in ("python", "twistd")]
    assert {"--nodaemon", "--pidfile="} < set(command)
    arguments = command[command.index(name.removesuffix(".service").strip()) + 1 :]
    options().parseOptions(arguments)


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_is_told(name: str) -> None:
    """Ready, reloading, alive: all of it by notification, reload by SIGHUP."""
    service = _unit(name)["Service"]
    assert service["Type"] == "notify"
    assert service["WatchdogSec"]
    assert "-HUP" in service["ExecReload"]
    assert service["NoNewPrivileges"] == "true"


def test_only_the_proxy_may_bind_low_ports() -> None:
    """It is the only privilege; haloyd has it in the one-process form alone."""
    proxy, daemon = (_unit(name)["Service"] for name in reversed(SERVICES))
    form = _unit("haloyd.service.d/one-process.conf")["Service"]
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert proxy[key] == form[key] == "CAP_NET_BIND_SERVICE"
        assert daemon[key] == ""


def test_the_proxy_may_give_up_what_it_has() -> None:
    """The call is among those that the filter takes away before."""
    lines = (UNITS / "haloy-proxy.service").read_text().splitlines()
    taken = lines.index("SystemCallFilter=~@privileged @resources")
    assert "SystemCallFilter=capset" in lines[taken:]


@pytest.mark.parametrize("name", SERVICES)
def test_both_may_let_others_first(name: str) -> None:
    """The call is among those that the filter takes away before."""
    lines = (UNITS / name).read_text().splitlines()
    taken = lines.index("SystemCallFilter=~@privileged @resources")
    assert "SystemCallFilter=sched_setattr" in lines[taken:]


def test_requests_come_before_what_is_told() -> None:
    """The daemon has less of a busy CPU than others, unless it is the proxy."""
    proxy, daemon = (_unit(name)["Service"] for name in reversed(SERVICES))
    assert int(daemon["CPUWeight"]) < 100
    assert "CPUWeight" not in proxy
    assert int(_unit(ONE_PROCESS)["Service"]["CPUWeight"]) == 100
    # It starts all the same, slowly, and is not ended for that.
    assert daemon["TimeoutStartSec"] == "300s"


def test_the_proxy_has_no_docker() -> None:
    """Neither by its groups nor by its files."""
    service = _unit("haloy-proxy.service")["Service"]
    assert service["User"] == "haloy-proxy"
    assert "SupplementaryGroups" not in service
    assert "-/run/docker.sock" in service["InaccessiblePaths"]
    assert "m haloy-proxy" not in (UNITS / "sysusers.d" / "haloy.conf").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_memory_may_be_made_executable(name: str) -> None:
    """docs/decisions/0006: pyOpenSSL's callbacks need it, or no certificate comes."""
    assert "MemoryDenyWriteExecute" not in _unit(name)["Service"]


def test_install_sh_is_free_of_what_shellcheck_knows() -> None:
    """It is a POSIX script: it runs where there is no bash."""
    _need("shellcheck")
    script = ROOT / "install.sh"
    assert script.read_text().startswith("#!/bin/sh\n")
    assert os.access(script, os.X_OK)
    subprocess.run(["shellcheck", str(script)], check=True, timeout=60)


def _begin_install(tools: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run install.sh where nothing on its path, C{tools}, could change anything."""
    tools.mkdir()
    for name in ("cut", "dirname", "id", "sha256sum", "uname"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(ROOT / "install.sh"), "--no-start", *options],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="install.sh is for root")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--compiled needs a C compiler"),
        (("--wheel", "one.whl"), "leave it or --compiled out"),
    ],
)
def test_install_sh_compiles_or_changes_nothing(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """What is missing is said first."""
    done = _begin_install(tmp_path / "tools", "--compiled", *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Users and directories" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="install.sh is for root")
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_install_sh_takes_the_wheel_that_is_meant(
    tmp_path: Path, beside: bool, right: bool
) -> None:
    """D24: one that is not what its SHA-256 says, given or in a file, is refused."""
    wheel = tmp_path / "haloy-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    meant = hashlib.sha256(b"wheel" if right else b"another").hexdigest()
    options = ["--wheel", str(wheel)]
    if beside:
        Path(f"{wheel}.sha256").write_text(f"{meant}  {wheel.name}\n")
    else:
        options += ["--sha256", meant]
    done = _begin_install(tmp_path / "tools", *options)
    assert ("SHA-256 is right" in done.stdout) is right
    assert ("has the SHA-256" in done.stderr) is not right
    assert ("Users and directories" in done.stdout) is right


@pytest.mark.skipif(os.geteuid() != 0, reason="install.sh is for root")
def test_install_sh_checks_no_wheel_that_is_not_named(tmp_path: Path) -> None:
    """A checkout is installed itself: nothing would be looked at."""
    done = _begin_install(tmp_path / "tools", "--sha256", "0" * 64)
    assert done.returncode == 1
    assert "name it with --wheel" in done.stderr
    assert "Users and directories" not in done.stdout


def test_install_sh_tells_its_options_and_changes_nothing(tmp_path: Path) -> None:
    """C{--help} is its head; an option it does not know ends it."""
    script = str(ROOT / "install.sh")
    told = subprocess.run(
        [script, "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    parsed = re.findall(
        r"^        (--[\w-]+)\)", (ROOT / "install.sh").read_text(), re.M
    )
    assert parsed
    assert all(option in told for option in parsed)
    wrong = subprocess.run(
        [script, "--frobnicate"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert wrong.returncode == 1
    assert "--help" in wrong.stderr


def test_a_benchmark_without_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what is missing, and what that means for its figures."""
    for place in ("_OLD", "_NEW"):
        monkeypatch.setattr(units, place, tmp_path / "none")
    assert "no control groups with a weight of the CPU here" in units.missing()
    assert "all have the same share" in units.missing()
