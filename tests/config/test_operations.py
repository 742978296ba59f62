"""The operations part of C{haloyd.yaml}."""

from __future__ import annotations

import pytest

from haloy.config.daemon_file import DaemonFile, parse_daemon_file
from haloy.config.operations import (
    DiskSettings,
    LogSettings,
    ManholeSettings,
    MetricsSettings,
)
from haloy.errors import ConfigError

FULL = """\
disk: {warn_percent: 70, prune_percent: 80, keep: 3}
log:
  format: json
  access: combined
  access_file: "-"
  access_percent: 10
  access_redact: [query, client]
  access_max_size: 5MB
metrics: {enabled: false, open_on_loopback: false}
manhole: {mode: ssh, listen: "127.0.0.1:2222", authorized_keys: /etc/haloy/keys}
"""


def _read(text: str) -> DaemonFile:
    return parse_daemon_file(text, "haloyd.yaml")


def test_every_key() -> None:
    """Sizes are bytes."""
    found = _read(FULL)
    assert found.disk == DiskSettings(70, 80, 3)
    assert found.log == LogSettings(
        "json", "combined", "-", 10, ("query", "client"), 5 << 20
    )
    assert found.metrics == MetricsSettings(enabled=False, open_on_loopback=False)
    assert found.manhole == ManholeSettings("ssh", "127.0.0.1:2222", "/etc/haloy/keys")


def test_a_bare_off_is_off() -> None:
    """YAML makes false of it; nobody should have to know that."""
    found = _read("log: {access: off}\nmanhole: {mode: off}\n")
    assert found.log.access == "off"
    assert found.manhole.mode == "off"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("disk: {warn_percent: 96}", "disk.prune_percent: is below warn_percent"),
        ("disk: {warn_percent: 101}", "1 to 100"),
        ("log: {access: yes}", "must be one of off, json, combined"),
        ("log: {access_file: access.log}", "not an absolute path"),
        ("log: {access_redact: [path]}", "must be one of query, client"),
        ("log: {access_max_size: 1KB}", "out of range"),
        ("manhole: {mode: ssh}", "needs a file of public keys"),
        ("manhole: {mode: true}", "must be one of off, unix, ssh"),
        ("manhole: {listen: ':9923'}", "not on loopback"),
        ("manhole: {listen: '0.0.0.0:9923'}", "not on loopback"),
        ("metrics: {enabled: 1}", "true or false"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """Each mistake is told with its line."""
    with pytest.raises(ConfigError, match=reason) as caught:
        _read(text)
    assert caught.value.line == 1
