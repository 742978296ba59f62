"""Routes and certificates on disk."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.kept import Kept, KeptFiles
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
        table(7, {"a": 1}, api=True),
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
        now = table(generation, apps, api=generation == 1)
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
    before = {path.name: path.stat().st_ino for path in folder.glob("*.pem")}
    files = KeptFiles(tmp_path)
    files.load(NOW)
    files.save_certificates((certificate("a.example", b"NEW\n"),))
    after = {path.name: path.stat().st_ino for path in folder.glob("*.pem")}
    assert after.keys() == {"a.example.pem", "mine.pem"}
    assert after["a.example.pem"] != before["a.example.pem"]
    files.save_certificates((certificate("a.example", b"NEW\n"),))
    again = {path.name: path.stat().st_ino for path in folder.glob("*.pem")}
    assert again == after


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"is":"KeptTable"}'])
def test_a_damaged_table_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    """Certificates are served all the same."""
    files = KeptFiles(tmp_path)
    files.save_certificates((certificate("a.example"),))
    (tmp_path / "table.json").write_bytes(content)
    assert files.load(NOW) == Kept(certificates=(certificate("a.example"),))
    assert (tmp_path / "table.json.corrupt-20261124T000000Z").read_bytes() == content


def test_a_damaged_certificate_costs_itself_alone(tmp_path: Path) -> None:
    """A cut file, a lost file, a name that leads elsewhere."""
    files = KeptFiles(tmp_path)
    good = certificate("c.example")
    bad = evolve(good, name=DomainName("../../etc/passwd"))
    files.save_certificates(
        (certificate("a.example"), certificate("b.example"), good, bad)
    )
    (tmp_path / "certs" / "a.example.pem").write_bytes(b"KEY")
    (tmp_path / "certs" / "b.example.pem").unlink()
    assert KeptFiles(tmp_path).load(NOW).certificates == (good,)
    assert list((tmp_path / "certs").glob("a.example.pem.corrupt-*"))
    index = tmp_path / "certs" / "index.json"
    index.write_text(index.read_text().replace('"c.example"', '"../c.example"', 1))
    assert KeptFiles(tmp_path).load(NOW).certificates == ()


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder in the place of a file stops nothing."""
    (tmp_path / "table.json").mkdir()
    assert KeptFiles(tmp_path).load(NOW) == Kept()
