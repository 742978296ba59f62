"""Routes and certificates on disk."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from twisted.logger import capturedLogs, formatEvent

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.control.changes import unread_table
from haloy.proxy.split.state_files import Kept, KeptFiles
from tests.proxy.control.test_protocol import table

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def certificate(name: str, key: bytes = b"KEY\n") -> Certificate:
    return Certificate(
        DomainName(name),
        frozenset({DomainName(name), DomainName("www.example.com")}),
        b"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n",
        Secret(key),
        NOW,
        NOW,
    )


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    """Settings, table and certificates; every file for its owner alone."""
    kept = Kept(
        {"stop_s": 3},
        unread_table(table(7, {"a": 1}, api=True)),
        (
            certificate("a.example.com"),
            certificate("*.example.com"),
            certificate("_.example.net"),  # as people name a wildcard's file
        ),
    )
    files = KeptFiles(tmp_path)
    files.save_table(kept.settings, kept.table)
    files.save_certificates(kept.certificates)
    assert KeptFiles(tmp_path).load(NOW) == kept
    modes = {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.rglob("*.*")}
    assert modes == {0o600}
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_table_is_written_as_it_is_now(tmp_path: Path) -> None:
    """Routes that were written before, new ones, others, and none that are gone."""
    files = KeptFiles(tmp_path)
    for generation, apps in enumerate(
        ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 1}, {"c": 1}, {"c": 1}, {})
    ):
        now = unread_table(table(generation, apps, api=generation == 1))
        files.save_table({"stop_s": generation}, now)
        written = (tmp_path / "table.json").read_bytes()
        assert KeptFiles(tmp_path).load(NOW) == Kept({"stop_s": generation}, now)
        anew = KeptFiles(tmp_path / "anew")
        anew.save_table({"stop_s": generation}, now)
        assert (tmp_path / "anew" / "table.json").read_bytes() == written


def test_nothing_was_kept(tmp_path: Path) -> None:
    """A first start begins with nothing."""
    assert KeptFiles(tmp_path / "none").load(NOW) == Kept()


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    """A renewal replaces one file; one that is gone is removed, and no other."""
    files = KeptFiles(tmp_path)
    files.save_certificates((certificate("a.example"), certificate("b.example")))
    folder = tmp_path / "certs"
    (folder / "mine.pem").write_text("a person's")

    def written() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in folder.glob("*.pem")}

    before = written()
    files = KeptFiles(tmp_path)
    files.load(NOW)
    two = (certificate("a.example", b"NEW\n"), certificate("c.example", b"KEY\n"))
    files.save_certificates(two)
    after = written()
    assert len(after) == 3
    # Those of b and c have the same content, and so one file.
    assert len(after.keys() & before.keys()) == 2
    assert "mine.pem" in after
    files.save_certificates(two)
    assert written() == after
    assert KeptFiles(tmp_path).load(NOW).certificates == two


def test_a_write_that_ends_midway_loses_no_certificate(tmp_path: Path) -> None:
    """A crash or a full disk after the new file, before the index: the old one stays.

    What was begun is finished, or taken away, by the next write.
    """
    old, new = certificate("a.example"), certificate("a.example", b"NEW\n")
    files = KeptFiles(tmp_path)
    files.save_certificates((old,))
    index = tmp_path / "certs" / "index.json"
    index.rename(tmp_path / "elsewhere")
    index.mkdir()
    with pytest.raises(OSError, match="directory"):
        files.save_certificates((new,))
    assert len(list((tmp_path / "certs").glob("*.pem"))) == 2
    index.rmdir()
    (tmp_path / "elsewhere").rename(index)
    assert KeptFiles(tmp_path).load(NOW).certificates == (old,)
    files.save_certificates((new,))
    assert KeptFiles(tmp_path).load(NOW).certificates == (new,)
    assert len(list((tmp_path / "certs").glob("*.pem"))) == 1


def test_a_file_from_elsewhere_is_no_certificate(tmp_path: Path) -> None:
    """An index that was tampered with leads nowhere, and a time has a zone."""
    KeptFiles(tmp_path).save_certificates((certificate("a.example"),))
    index = tmp_path / "certs" / "index.json"
    content = index.read_text()
    index.write_text(re.sub(r'"digest": "[0-9a-f]{64}"', '"digest": "../x"', content))
    assert KeptFiles(tmp_path).load(NOW) == Kept()
    index.write_text(content.replace("+00:00", ""))
    assert KeptFiles(tmp_path).load(NOW) == Kept()
    assert list((tmp_path / "certs").glob("index.json.corrupt-*"))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b'{"is":"KeptTable"}', b"\0" * 4096, b"\xff\xfe"),
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"is":"KeptTable","settings":{},"table":{"is":"RouteTable","exact":7}}',
    ],
)
def test_a_damaged_table_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    """Certificates are served all the same."""
    files = KeptFiles(tmp_path)
    files.save_certificates((certificate("a.example"),))
    (tmp_path / "table.json").write_bytes(content)
    assert files.load(NOW) == Kept(certificates=(certificate("a.example"),))
    assert (tmp_path / "table.json.corrupt-20261124T000000Z").read_bytes() == content


def test_a_damaged_certificate_costs_itself_alone(tmp_path: Path) -> None:
    """A cut file, and a lost one; a name, however long, makes no path."""
    files = KeptFiles(tmp_path)
    good = (
        evolve(certificate("c.example", b"C\n"), name=DomainName("../../etc/passwd")),
        certificate(".".join(["d" * 62] * 4), b"D\n"),
    )
    files.save_certificates((certificate("a.example", b"A\n"),))
    (a,) = (tmp_path / "certs").glob("*.pem")
    files.save_certificates(
        (certificate("a.example", b"A\n"), certificate("b.example", b"B\n"))
    )
    (b,) = set((tmp_path / "certs").glob("*.pem")) - {a}
    files.save_certificates(
        (
            certificate("a.example", b"A\n"),
            certificate("b.example", b"B\n"),
            *good,
        )
    )
    a.write_bytes(b"KEY")
    b.unlink()
    assert KeptFiles(tmp_path).load(NOW).certificates == good
    assert list((tmp_path / "certs").glob(f"{a.name}.corrupt-*"))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder in the place of a file stops nothing."""
    (tmp_path / "table.json").mkdir()
    assert KeptFiles(tmp_path).load(NOW) == Kept()


def test_a_route_of_a_newer_release_costs_itself_alone(tmp_path: Path) -> None:
    """After a step back to this one all other routes are served."""
    files = KeptFiles(tmp_path)
    both = table(7, {"a": 1, "b": 1})
    files.save_table({}, unread_table(both))
    path = tmp_path / "table.json"
    content = json.loads(path.read_text())
    odd = next(iter(content["table"]["exact"]))
    content["table"]["exact"][odd]["shadow"] = 1
    path.write_text(json.dumps(content))
    with capturedLogs() as events:
        found = files.load(NOW).table
    assert found.generation == 7
    assert found.exact.keys() == both.exact.keys() - {odd}
    (event,) = events
    assert f"the route of {odd} is left out" in formatEvent(event)


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    """Half a key among it; what somebody writes now, or a person has made, stays."""
    KeptFiles(tmp_path).save_certificates((certificate("a.example"),))
    folder = tmp_path / "certs"
    with subprocess.Popen(["true"]) as ended:
        pass
    left = [
        tmp_path / f".table.json.{ended.pid}.tmp",
        folder / f".k.pem.{ended.pid}.tmp",
    ]
    stays = [folder / f".k.pem.{os.getpid()}.tmp", tmp_path / ".mine.tmp"]
    for path in (*left, *stays):
        path.touch()
    assert len(KeptFiles(tmp_path).load(NOW).certificates) == 1
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in stays)


def test_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    """A damaged file that cannot be moved aside is left, and stops nothing."""
    KeptFiles(tmp_path).save_certificates((certificate("a.example"),))
    (tmp_path / "table.json").write_bytes(b"{")
    # As on a file system that is read-only, where root has no way around it either.
    (tmp_path / "table.json.corrupt-20261124T000000Z").mkdir()
    assert KeptFiles(tmp_path).load(NOW) == Kept(
        certificates=(certificate("a.example"),)
    )
    assert (tmp_path / "table.json").read_bytes() == b"{"
