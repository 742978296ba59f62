"""SIGHUP: the configuration is read anew, checked, and put into force as far as it can.

A bad file changes nothing: it is told, and C{/health/ready} is false until the file
is right. What cannot change while the daemon runs is told by its key.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from attrs import define, field
from twisted.logger import Logger

from haloy.config.daemon_file import DaemonFile
from haloy.daemon.paths import Directories
from haloy.daemon.settings import Settings, keep_copy, read_settings, values_of
from haloy.errors import ConfigError
from haloy.systemd import Notifier

#: Sections that are put into force at once; of others it is said that they wait.
LIVE: Final = frozenset(
    {
        *("health_monitor", "policy", "disk", "metrics"),
        *("log.access", "log.access_percent", "log.access_redact"),
        *("log.access_max_size", "trusted_proxies"),
    }
)


@define(eq=False, repr=False)  # signal.signal makes a repr of handlers' owners
class Reload:
    """Reads the configuration when it is asked to.

    @ivar settings: what the daemon runs by, and what is wrong with the file.
    @ivar _apply: puts what can be into force.
    @ivar _reopen: closes log files, so that the next line opens them anew.
    """

    _reactor: Any
    _chosen: Directories
    settings: Settings
    _apply: Callable[[DaemonFile], None]
    _reopen: Callable[[], None]
    _notifier: Notifier
    _log: Logger = field(factory=Logger, init=False)

    async def start(self) -> None:
        """Act on SIGHUP from now on."""
        signal.signal(signal.SIGHUP, self._hear)

    async def stop(self) -> None:
        """Ignore it: what comes while the daemon ends must not end it sooner."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read the file and act by it; a bad one changes nothing."""
        self._notifier.reloading(int(self._reactor.seconds() * 1_000_000))
        self._reopen()
        try:
            new = read_settings(self._chosen)
        except ConfigError as problem:
            self.settings = Settings(self.settings.file, str(problem))
            self._log.error("{problem}; nothing was changed", problem=str(problem))
            self._notifier.ready("running by an earlier configuration")
            return
        changed = changed_keys(self.settings.file, new)
        waiting = [key for key in changed if not is_live(key)]
        self._apply(new)
        self.settings = Settings(new)
        keep_copy(self._chosen)
        self._log.info(
            "configuration read anew: {changed}",
            changed=", ".join(sorted(set(changed) - set(waiting))) or "nothing changed",
        )
        if waiting:
            self._log.warn(
                "{keys}: in force after a restart of haloyd", keys=", ".join(waiting)
            )
        self._notifier.ready("serving")


def changed_keys(old: DaemonFile, new: DaemonFile) -> list[str]:
    """Return which keys differ, as the file names them."""
    before = values_of(old)
    return [key for key, value in values_of(new).items() if value != before[key]]


def is_live(key: str) -> bool:
    """Return whether a reload puts a new value of C{key} into force."""
    return key in LIVE or key.partition(".")[0] in LIVE
