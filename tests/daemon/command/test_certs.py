"""C{haloyd certs} while no daemon runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.daemon.command.test_token import folder, run
from tests.integration.site import write_certificate

__all__ = ["folder"]


def test_the_files(folder: Path) -> None:
    """What is held is told by its files."""
    write_certificate(folder / "data" / "certs", "a.example.com")
    found = json.loads(run(folder, "certs", "list", "--json").output)["certificates"]
    assert [one["name"] for one in found] == ["a.example.com"]
    assert "a.example.com" in run(folder, "certs", "list").output


def test_what_needs_a_daemon(folder: Path, tmp_path: Path) -> None:
    """It is said that none answers, and where."""
    pem = tmp_path / "own.pem"
    pem.write_text("pem")
    for arguments in (
        ("show", "a.example.com"),
        ("renew", "a.example.com"),
        ("import", "a.example.com", str(pem)),
    ):
        done = run(folder, "certs", *arguments)
        assert done.exit_code == 1
        assert "does not answer at 127.0.0.1:1" in done.output
    assert run(folder, "certs", "renew", "../etc").exit_code == 1
    pem.write_text(" ")
    assert "is empty" in run(folder, "certs", "import", "a.example", str(pem)).output
