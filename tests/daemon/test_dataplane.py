"""Which form of the proxy is driven; what it does then is in L{tests.integration}."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.daemon_file import LimitsSettings, ProxySettings
from haloy.daemon.dataplane import is_split, told_limits
from haloy.proxy.crowd import CONNECTIONS_LIMIT


@pytest.mark.parametrize(
    ("mode", "folder", "split"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("embedded", True, False),
        ("split", False, True),
    ],
)
def test_the_form(tmp_path: Path, mode: str, folder: bool, split: bool) -> None:
    """What is said counts; C{auto} is split where an installed proxy's folder is."""
    if folder:
        (tmp_path / "run").mkdir()
    control = str(tmp_path / "run" / "proxy.sock")
    assert is_split(ProxySettings(mode=mode, control=control)) is split


def test_a_limit_is_told_where_it_is_not_the_usual_one() -> None:
    """The file's default is the proxy's; an earlier haloy-proxy knows no other."""
    assert LimitsSettings().connections_per_client == CONNECTIONS_LIMIT
    assert told_limits(LimitsSettings()) == {}
    assert told_limits(LimitsSettings(0)) == {"connections_per_client": 0}
