"""C{haloyd serve} is C{twistd --nodaemon haloyd} with the same directories."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.command.conftest import Haloyd


def test_the_directories_reach_the_daemon(haloyd: Haloyd, tmp_path: Path) -> None:
    """A mistake in the file of C{--config-dir} ends it, with file and line."""
    config = tmp_path / "other"
    config.mkdir()
    (config / "haloyd.yaml").write_text("api:\n  lissen: 127.0.0.1:1\n")
    done = haloyd("serve", "--config-dir", str(config), "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"{config / 'haloyd.yaml'}:2" in done.stdout + done.stderr
    assert "listen" in done.stdout + done.stderr


def test_without_a_token_it_says_how_to_get_one(haloyd: Haloyd) -> None:
    """A server that was never set up does not start."""
    done = haloyd("serve")
    assert done.returncode == 1
    assert "haloyd init" in done.stdout + done.stderr


def test_it_has_no_process_id_file(haloyd: Haloyd, tmp_path: Path) -> None:
    """Whoever starts it in the foreground knows its process: two may run."""
    haloyd("serve", "--debug")
    assert not list(tmp_path.glob("**/*.pid"))
