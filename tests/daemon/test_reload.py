"""What SIGHUP changes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from attrs import define, field

from haloy.config.daemon_file import DaemonFile, parse_daemon_file
from haloy.daemon.paths import Directories
from haloy.daemon.reload import Reload, changed_keys
from haloy.daemon.settings import Settings
from haloy.systemd import Notifier
from tests.fakes.threads import InlineClock


@define(eq=False)
class Scene:
    folder: Path
    applied: list[DaemonFile] = field(factory=list)
    reopened: list[bool] = field(factory=list)

    def reload(self) -> Reload:
        clock = InlineClock()
        return Reload(
            clock,
            Directories(self.folder, self.folder / "data"),
            Settings(DaemonFile()),
            self.applied.append,
            lambda: self.reopened.append(True),
            Notifier(clock),
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_good_file_counts(scene: Scene) -> None:
    """It becomes the last good copy."""
    text = "disk: {keep: 9}\n"
    (scene.folder / "haloyd.yaml").write_text(text)
    reload = scene.reload()
    reload.reload()
    assert scene.applied[0].disk.keep == 9
    assert reload.settings.file.disk.keep == 9
    assert (scene.folder / "data" / "haloyd.yaml.last-good").read_text() == text
    assert scene.reopened == [True]


def test_a_bad_file_changes_nothing_but_the_log_files(scene: Scene) -> None:
    """Logrotate's signal must work even then."""
    (scene.folder / "haloyd.yaml").write_text("disk: {kept: 9}\n")
    reload = scene.reload()
    reload.reload()
    assert scene.applied == []
    assert "keep" in reload.settings.problem
    assert scene.reopened == [True]
    (scene.folder / "haloyd.yaml").unlink()
    reload.reload()
    assert reload.settings.problem == ""
    assert not (scene.folder / "data").exists()


def test_an_authority_that_cannot_be_trusted_changes_nothing(scene: Scene) -> None:
    """The last good copy stays one by which haloyd starts."""
    good = "disk: {keep: 9}\n"
    (scene.folder / "haloyd.yaml").write_text(good)
    reload = scene.reload()
    reload.reload()
    (scene.folder / "haloyd.yaml").write_text(f"{good}acme: {{ca_file: /nothing}}\n")
    reload.reload()
    assert "haloyd.yaml:2: acme.ca_file: /nothing" in reload.settings.problem
    assert len(scene.applied) == 1
    assert (scene.folder / "data" / "haloyd.yaml.last-good").read_text() == good


def test_which_keys_differ() -> None:
    """By the names that people wrote."""
    new = parse_daemon_file(
        "health_monitor: {interval: 3s}\napi: {domain: a.example}\n"
        "trusted_proxies: [10.0.0.1]\nlog: {access: json}\n",
        "x",
    )
    assert changed_keys(DaemonFile(), new) == [
        "api.domain",
        "trusted_proxies",
        "health_monitor.interval",
        "log.access",
    ]
    assert changed_keys(new, new) == []


async def test_the_signal(scene: Scene) -> None:
    """From start to stop; afterwards it is ignored, not deadly."""
    before = signal.getsignal(signal.SIGHUP)
    reload = scene.reload()
    try:
        await reload.start()
        signal.raise_signal(signal.SIGHUP)
        assert scene.reopened == [True]
        await reload.stop()
        signal.raise_signal(signal.SIGHUP)
        assert scene.reopened == [True]
    finally:
        signal.signal(signal.SIGHUP, before)
