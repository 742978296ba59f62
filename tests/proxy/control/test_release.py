"""Two releases that meet."""

from __future__ import annotations

from haloy.proxy.control.protocol import PROTOCOL, Hello
from haloy.proxy.control.release import RELEASE, version_problem


def test_versions_are_compared() -> None:
    """The text names both and says what to do."""
    assert not version_problem(Hello(PROTOCOL, "1.0"))
    older = version_problem(Hello(PROTOCOL - 1, "0.9"))
    assert "0.9" in older
    assert RELEASE in older
    assert "restart the other side" in older
    assert "restart this side" in version_problem(Hello(PROTOCOL + 1, "3.0"))


def test_a_worker_is_what_is_installed() -> None:
    """It does not say which release that is; whoever refuses it finds out."""
    text = version_problem(Hello(PROTOCOL - 1, ""))
    assert f"protocol {PROTOCOL - 1} (release {RELEASE})" in text
