"""C{haloyd backup} and C{haloyd restore}: one file with all that cannot be made anew.

In it: the database, certificates with their accounts, logins, the name of this
haloyd and its configuration. Not in it: images, volumes and uploaded layers. The
database is copied by SQLite itself, so the daemon may run and write meanwhile.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, cast

import click
from attrs import frozen

from haloy.config.private import make_directory, stamp, write_private
from haloy.daemon.command.daemon import runs
from haloy.daemon.command.options import directories, directory_options
from haloy.daemon.command.output import confirm, json_option, tell
from haloy.daemon.command.owner import become_owner
from haloy.daemon.paths import Directories
from haloy.errors import Conflict, HaloyError, InvalidValue, NotFound

MANIFEST = "haloy-backup.json"
FORMAT = 1
#: Files and folders of the two directories that belong to a backup.
CONFIG = ("haloyd.yaml", ".env", ".env.local")
DATA = (
    "db/haloy.db",
    "certs",
    "cert-storage",
    "registries.yaml",
    "instance-id",
    "haloyd.yaml.last-good",
    "manhole_host_key",
)
MEMBER_LIMIT_BYTES = 4 << 30


@frozen
class Restored:
    """What a restore did; C{aside} is where the files before it are."""

    files: tuple[str, ...]
    aside: Path | None


@click.command()
@directory_options
@click.argument("file", required=False, metavar="[FILE]")
@json_option
def backup(
    config_dir: str | None, data_dir: str | None, file: str | None, as_json: bool
) -> None:
    """Write a backup to FILE, by default haloy-TIME.tar.gz here; - is stdout.

    haloyd may be running. The file holds keys and secrets: only its owner may read it.
    """
    chosen = directories(config_dir, data_dir)
    _members(chosen)  # before there is a file that would have to go again
    now = datetime.now(UTC)
    name = file or f"haloy-{stamp(now)}.tar.gz"
    if name == "-":
        become_owner(chosen)
        write_backup(chosen, sys.stdout.buffer, now)
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = os.open(name, flags, 0o600)
    except OSError as problem:
        raise Conflict(f"{name} cannot be made: {problem.strerror}") from problem
    with os.fdopen(descriptor, "wb") as out:
        path = Path(name).absolute()
        try:
            become_owner(chosen)
            files = write_backup(chosen, out, now)
            out.flush()
            os.fsync(out.fileno())
            # By the file itself: haloyd's user may not look into root's own folder.
            size = os.fstat(out.fileno()).st_size
        except BaseException:
            out.flush()
            os.ftruncate(out.fileno(), 0)
            click.echo(f"{path} is not a backup: delete it", err=True)
            raise
    tell(
        {"file": str(path), "files": files, "sizeBytes": size},
        [f"{path}: {len(files)} files, {size} bytes", "Keep it secret: it has keys."],
        as_json,
    )


@click.command()
@directory_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def restore(
    config_dir: str | None, data_dir: str | None, file: str, yes: bool, as_json: bool
) -> None:
    """Restore the backup FILE; the files that it replaces are kept aside."""
    chosen = directories(config_dir, data_dir)
    with Path(file).open("rb") as source:
        become_owner(chosen)
        if runs(chosen):
            raise Conflict("haloyd is running; stop it first (systemctl stop haloyd)")
        if not yes:
            confirm(f"Restore {chosen.config} and {chosen.data}?")
        done = read_backup(chosen, source, datetime.now(UTC))
    lines = [f"{len(done.files)} files restored; start haloyd now."]
    if done.aside is not None:
        lines.append(f"What was there before is in {done.aside}")
    aside = None if done.aside is None else str(done.aside)
    tell({"files": list(done.files), "movedAside": aside}, lines, as_json)


def write_backup(chosen: Directories, out: IO[bytes], now: datetime) -> list[str]:
    """Write a backup to C{out}; return what is in it.

    @raise NotFound: there is nothing to keep.
    @raise HaloyError: the database cannot be read.
    """
    members = _members(chosen)
    database = "data/db/haloy.db"
    names = [name for name, _ in members]
    manifest = {
        "format": FORMAT,
        "version": version("haloy"),
        "createdAt": now.isoformat(),
        "files": names,
    }
    with tempfile.TemporaryDirectory(prefix="haloy-backup-") as folder:
        copy = Path(folder) / "haloy.db"
        if chosen.database.exists():
            _copy_database(chosen.database, copy)
        with tarfile.open(fileobj=out, mode="w|gz") as archive:
            _add(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
            for name, path in members:
                content = (copy if name == database else path).read_bytes()
                _add(archive, name, content)
    return names


def read_backup(chosen: Directories, source: IO[bytes], now: datetime) -> Restored:
    """Put a backup in place. Everything is read and checked before anything changes.

    @raise InvalidValue: it is no backup, or one of a newer version.
    """
    content = _checked(source)
    aside = chosen.data / f"before-restore-{stamp(now)}"
    moved = False
    for name in content:
        target = _target(chosen, name)
        if target.exists():
            kept = aside / name
            make_directory(kept.parent)
            target.rename(kept)
            moved = True
    for suffix in ("-wal", "-shm"):
        rest = chosen.database.with_name(chosen.database.name + suffix)
        if rest.exists():
            make_directory(aside / "data/db")
            rest.rename(aside / f"data/db/haloy.db{suffix}")
    for name, data in content.items():
        target = _target(chosen, name)
        make_directory(target.parent)
        write_private(target, data)
    return Restored(tuple(content), aside if moved else None)


def _checked(source: IO[bytes]) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=source, mode="r:gz") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST:
                raise InvalidValue("is not a backup of haloyd", field="FILE")
            manifest = json.loads(_read(archive, first))
            if manifest["format"] != FORMAT:
                raise InvalidValue(
                    f"is a backup of a newer haloyd ({manifest['version']})",
                    field="FILE",
                )
            for member in archive:
                if member is first:
                    continue
                content[_safe(member)] = _read(archive, member)
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError) as problem:
        raise InvalidValue(f"is damaged: {problem}", field="FILE") from problem
    missing = set(manifest["files"]) - content.keys()
    if missing:
        raise InvalidValue(
            f"is not whole: {', '.join(sorted(missing))} missing", field="FILE"
        )
    _check_database(content.get("data/db/haloy.db"))
    return content


def _safe(member: tarfile.TarInfo) -> str:
    """Return the name of a member that may be written. @raise InvalidValue: else."""
    root, _, rest = member.name.partition("/")
    allowed = {"config": CONFIG, "data": DATA}.get(root, ())
    parts = PurePosixPath(rest).parts
    fits = any(rest == one or rest.startswith(f"{one}/") for one in allowed)
    if not member.isreg() or not fits or ".." in parts or "" in parts:
        raise InvalidValue(f"has {member.name!r}, which is not ours", field="FILE")
    if member.size > MEMBER_LIMIT_BYTES:
        raise InvalidValue(f"{member.name} is too large", field="FILE")
    return member.name


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return cast(IO[bytes], archive.extractfile(member)).read()


def _check_database(content: bytes | None) -> None:
    if content is None:
        return
    with tempfile.TemporaryDirectory(prefix="haloy-restore-") as folder:
        path = Path(folder) / "haloy.db"
        path.write_bytes(content)
        connection = sqlite3.connect(path)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as problem:
            found = str(problem)
        finally:
            connection.close()
    if found != "ok":
        raise InvalidValue(f"has a damaged database: {found}", field="FILE")


def _target(chosen: Directories, name: str) -> Path:
    root, _, rest = name.partition("/")
    return (chosen.config if root == "config" else chosen.data) / rest


def _members(chosen: Directories) -> list[tuple[str, Path]]:
    """Return the names in a backup, and which files they are.

    @raise NotFound: there is none.
    """
    found = [
        *_files(chosen.config, "config", CONFIG),
        *_files(chosen.data, "data", DATA),
    ]
    if not found:
        raise NotFound(
            f"there is no haloyd in {chosen.config} and {chosen.data}; "
            "say where it is by --config-dir and --data-dir"
        )
    return found


def _files(
    folder: Path, prefix: str, wanted: tuple[str, ...]
) -> Iterator[tuple[str, Path]]:
    for name in wanted:
        path = folder / name
        if path.is_file():
            yield f"{prefix}/{name}", path
        elif path.is_dir():
            for found in sorted(path.rglob("*")):
                if found.is_file() and not found.is_symlink():
                    yield f"{prefix}/{found.relative_to(folder)}", found


def _copy_database(source: Path, target: Path) -> None:
    try:
        reading = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)
        writing = sqlite3.connect(target)
        try:
            reading.backup(writing)
            # One file is enough: nothing of a write-ahead log beside it.
            writing.execute("PRAGMA journal_mode = DELETE")
        finally:
            reading.close()
            writing.close()
    except sqlite3.Error as problem:
        raise HaloyError(f"{source} cannot be copied: {problem}") from problem


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o600
    info.mtime = int(datetime.now(UTC).timestamp())
    archive.addfile(info, io.BytesIO(content))
