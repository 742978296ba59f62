"""C{haloyd backup} and C{haloyd restore}."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haloy.daemon.command.backup import MANIFEST, read_backup, write_backup
from haloy.daemon.command.main import main
from haloy.daemon.paths import Directories
from haloy.errors import HaloyError, InvalidValue

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.fixture
def chosen(tmp_path: Path) -> Directories:
    """Give a server with something of everything, its database in use."""
    found = Directories(tmp_path / "config", tmp_path / "data")
    for path in (found.config, found.database.parent, found.certificates / "accounts"):
        path.mkdir(parents=True)
    # Nobody listens there: no haloyd of this machine is taken for the one meant.
    found.config_file.write_text("api: {listen: '127.0.0.1:1'}\n")
    found.env_file.write_text("HALOY_API_TOKEN=abc\n")
    (found.certificates / "a.example.pem").write_text("pem")
    (found.certificates / "accounts" / "x.json").write_text("{}")
    found.instance.write_text("0123456789abcdef")
    (found.data / "layers").mkdir()
    (found.data / "layers" / "big").write_text("not in a backup")
    return found


def database(chosen: Directories) -> sqlite3.Connection:
    connection = sqlite3.connect(chosen.database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS thing (name TEXT)")
    connection.execute("INSERT INTO thing VALUES ('kept')")
    connection.commit()
    return connection


def run(chosen: Directories, command: str, *rest: str) -> Result:
    where = ["--config-dir", str(chosen.config), "--data-dir", str(chosen.data)]
    return CliRunner().invoke(main, [command, *where, *rest])


def test_there_and_back(chosen: Directories, tmp_path: Path) -> None:
    """While the database is open and being written; what was there is kept aside."""
    writing = database(chosen)
    writing.execute("INSERT INTO thing VALUES ('not yet')")
    file = tmp_path / "b.tar.gz"
    done = run(chosen, "backup", str(file), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert "data/db/haloy.db" in told["files"]
    assert not any("layers" in name for name in told["files"])
    assert file.stat().st_mode & 0o777 == 0o600
    writing.close()
    chosen.env_file.write_text("HALOY_API_TOKEN=other\n")
    (chosen.certificates / "a.example.pem").unlink()
    chosen.database.write_bytes(b"broken")
    restored = run(chosen, "restore", str(file), "--yes", "--json")
    assert restored.exit_code == 0, restored.output
    aside = Path(json.loads(restored.output)["movedAside"])
    assert (aside / "config" / ".env").read_text() == "HALOY_API_TOKEN=other\n"
    assert (aside / "data" / "db" / "haloy.db").read_bytes() == b"broken"
    assert chosen.env_file.read_text() == "HALOY_API_TOKEN=abc\n"
    assert (chosen.certificates / "a.example.pem").read_text() == "pem"
    found = sqlite3.connect(chosen.database)
    assert found.execute("SELECT name FROM thing").fetchall() == [("kept",)]
    found.close()


def test_an_empty_server_gets_everything(chosen: Directories, tmp_path: Path) -> None:
    """A new machine: directories are made, nothing is moved."""
    out = io.BytesIO()
    database(chosen).close()
    write_backup(chosen, out, NOW)
    new = Directories(tmp_path / "n" / "config", tmp_path / "n" / "data")
    out.seek(0)
    assert read_backup(new, out, NOW).aside is None
    assert new.database.stat().st_mode & 0o777 == 0o600
    assert new.config.stat().st_mode & 0o777 == 0o700


def test_the_name_it_gets_by_itself(
    chosen: Directories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never over another file."""
    monkeypatch.chdir(tmp_path)
    assert run(chosen, "backup").exit_code == 0
    (made,) = tmp_path.glob("haloy-*.tar.gz")
    again = run(chosen, "backup", str(made))
    assert (again.exit_code, "cannot be made" in again.output) == (1, True)


def test_to_the_output(chosen: Directories) -> None:
    """For a pipe to another machine."""
    done = run(chosen, "backup", "-")
    with tarfile.open(fileobj=io.BytesIO(done.stdout_bytes), mode="r:gz") as archive:
        assert archive.getnames()[0] == MANIFEST


def test_it_asks(chosen: Directories, tmp_path: Path) -> None:
    """And without a yes nothing happens."""
    file = tmp_path / "b.tar.gz"
    run(chosen, "backup", str(file))
    chosen.env_file.write_text("new")
    done = run(chosen, "restore", str(file))
    assert (done.exit_code, "--yes" in done.output) == (1, True)
    assert chosen.env_file.read_text() == "new"


def test_of_nothing(tmp_path: Path) -> None:
    """Without a haloyd there is no backup: an empty one would look like a good one."""
    nowhere = Directories(tmp_path / "config", tmp_path / "data")
    done = run(nowhere, "backup", str(tmp_path / "b.tar.gz"))
    assert (done.exit_code, "--config-dir" in done.output) == (1, True)
    assert not (tmp_path / "b.tar.gz").exists()


def archive_of(**members: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out


def manifest(*files: str, form: int = 1) -> bytes:
    return json.dumps({"format": form, "version": "9", "files": files}).encode()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (io.BytesIO(b"no archive"), "damaged"),
        (archive_of(other=b""), "not a backup"),
        (archive_of(**{MANIFEST: b"{"}), "damaged"),
        (archive_of(**{MANIFEST: manifest(form=2)}), "newer haloyd"),
        (archive_of(**{MANIFEST: manifest("config/.env")}), "not whole"),
        (archive_of(**{MANIFEST: manifest(), "data/../../x": b""}), "not ours"),
        (archive_of(**{MANIFEST: manifest(), "data/certs/../../x": b""}), "not ours"),
        (archive_of(**{MANIFEST: manifest(), "/etc/passwd": b""}), "not ours"),
        (archive_of(**{MANIFEST: manifest(), "config/other": b""}), "not ours"),
        (
            archive_of(**{MANIFEST: manifest(), "data/db/haloy.db": b"x" * 5000}),
            "damaged database",
        ),
    ],
)
def test_what_is_no_backup_changes_nothing(
    chosen: Directories, source: io.BytesIO, reason: str
) -> None:
    """It is looked through before anything is touched."""
    before = sorted(chosen.config.parent.rglob("*"))
    with pytest.raises(InvalidValue, match=reason):
        read_backup(chosen, source, NOW)
    assert sorted(chosen.config.parent.rglob("*")) == before


def test_a_database_that_cannot_be_read(chosen: Directories, tmp_path: Path) -> None:
    """A backup without it would look like one; there is none then."""
    chosen.database.write_bytes(b"x" * 5000)
    with pytest.raises(HaloyError, match="cannot be copied"):
        write_backup(chosen, io.BytesIO(), NOW)
    done = run(chosen, "backup", str(tmp_path / "b.tar.gz"))
    assert done.exit_code == 1
    assert (tmp_path / "b.tar.gz").stat().st_size == 0
