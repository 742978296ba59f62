"""The unit that is shipped starts what there is, inside a tight sandbox."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from haloy.tap import Options

UNIT = Path(__file__).parents[1] / "systemd" / "haloyd.service"
MOST_EXPOSED = 20  # in tenths: 2.0


def _unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep case
    unit.read(UNIT)
    return unit


def test_the_sandbox_is_tight() -> None:
    """C{systemd-analyze security} gives the unit at most 2.0."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    judged = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes", "--no-pager"),
            *(f"--threshold={MOST_EXPOSED}", str(UNIT)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Overall exposure level" in judged.stdout


def test_the_command_is_one_that_twistd_takes() -> None:
    """C{ExecStart} runs twistd in the foreground, with options that haloyd has."""
    command = _unit()["Service"]["ExecStart"].split()
    assert Path(command[0]).name == "twistd"
    assert {"--nodaemon", "--pidfile="} < set(command)
    arguments = command[command.index("haloyd") + 1 :]
    Options().parseOptions(arguments)


def test_the_daemon_may_bind_low_ports_and_nothing_else() -> None:
    """Ports 80 and 443 are the only privilege, for haloyd and all it starts."""
    service = _unit()["Service"]
    assert service["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert service["NoNewPrivileges"] == "true"
    assert service["User"] == "haloy"


def test_memory_may_be_made_executable() -> None:
    """docs/decisions/0006: pyOpenSSL's callbacks need it, or no certificate comes."""
    assert "MemoryDenyWriteExecute" not in _unit()["Service"]
