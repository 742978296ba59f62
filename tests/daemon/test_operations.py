"""What C{daemon.operations} puts into force when the configuration is read anew.

Logs, metrics and signals of a running daemon: C{tests/integration/test_operations.py}.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.python.threadpool import ThreadPool

from haloy.config.daemon_file import DaemonFile, HealthMonitorSettings
from haloy.daemon.logs import ServerLog
from haloy.daemon.operations import Operations
from haloy.daemon.paths import Directories
from haloy.daemon.settings import Settings
from tests.daemon.test_routing import SlowProxy
from tests.fakes.database import MemoryDatabase
from tests.fakes.engine import FakeEngine
from tests.fakes.threads import InlineClock

FILE = """
trusted_proxies: [10.0.0.0/8]
health_monitor: {interval: 7s}
policy: {privileged: refuse}
disk: {keep: 9}
"""


@define(eq=False)
class Told:
    """The monitor and the deployments, as far as a reload reaches them."""

    monitor: list[HealthMonitorSettings] = field(factory=list)
    policies: list[Any] = field(factory=list)

    def configure(self, settings: HealthMonitorSettings) -> None:
        self.monitor.append(settings)

    def allow(self, policy: Any) -> None:
        self.policies.append(policy)


def test_a_reload_reaches_every_part_whatever_the_proxys_form(tmp_path: Path) -> None:
    """What the daemon says is in force is: a split proxy is told as well.

    C{trusted_proxies} were passed on to the embedded form alone, and not named among
    the keys that wait for a start.
    """
    told, proxy, database = Told(), SlowProxy(), MemoryDatabase()
    operations = Operations(
        InlineClock(),
        cast(ThreadPool, None),
        Directories(tmp_path, tmp_path / "data"),
        Settings(DaemonFile()),
        FakeEngine(),
        cast(Any, database),
        ServerLog(),
        lambda: datetime(2026, 11, 24, tzinfo=UTC),
    )
    parts = cast(Any, told)
    operations.observe(proxy, cast(Any, None), parts, cast(Any, None), parts)
    (tmp_path / "haloyd.yaml").write_text(FILE)
    operations.reload.reload()
    assert operations.reload.settings.problem == ""
    assert proxy.trusted == ("10.0.0.0/8",)
    assert told.monitor[0].interval_s == 7
    assert len(told.policies) == 1
    assert operations.watermark.settings.keep == 9
    database.close()
