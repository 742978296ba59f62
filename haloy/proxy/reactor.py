"""The epoll reactor with a short way to our own descriptors.

Everything else goes the stock way, and everything also runs on the stock reactor:
this one leaves out the log context that Twisted sets up around each event (some
6 µs a request), and its clock does not jump.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, select
from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionLost
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import callWithLogger  # noqa: TID251 - as the stock reactor

from haloy.proxy.descriptor import Descriptor
from haloy.proxy.downstream import Downstream
from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.trunk import TrunkConnection
from haloy.proxy.listener import Listener
from haloy.proxy.upstream import UpstreamConnection

_EVENTS_LIMIT: Final = 1024
#: What epoll_wait takes as milliseconds in a C integer.
_WAIT_LIMIT_S: Final = 2147483.0
#: It takes whole ones.
_FINEST_S: Final = 0.001
_OURS: Final = frozenset(
    (Downstream, Http2Downstream, Listener, TrunkConnection, UpstreamConnection)
)
_DISCONNECTED: Final = EPOLLERR | EPOLLHUP


class LeanReactor(EPollReactor):
    """C{EPollReactor} that calls our descriptors directly.

    Its time is monotonic: a jump of the wall clock delays or hurries no timer.
    """

    _lean_log = Logger()

    def __init__(self) -> None:
        self._at_end: list[Callable[[], None]] = []
        super().__init__()

    def at_turn_end(self, call: Callable[[], None]) -> None:
        """Call C{call} when the events of this turn, or of the next, are handled."""
        self._at_end.append(call)

    @staticmethod
    def seconds() -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def timeout(self) -> float | None:
        """Return how long the next turn may wait, as the stock reactor does."""
        if self._newTimedCalls:
            self._insertNewDelayedCalls()
        pending = self._pendingTimedCalls
        if not pending:
            return None
        left_s: float = pending[0].time - time.monotonic()
        return min(left_s, _WAIT_LIMIT_S) if left_s > 0 else 0

    def addReader(self, reader: Any) -> None:  # noqa: N802 - Twisted's
        """Watch for readability; what is ours and new goes a short way."""
        if type(reader) in _OURS:
            fileno = reader.fileno()
            if fileno not in self._selectables:
                self._poller.register(fileno, EPOLLIN)
                self._reads.add(fileno)
                self._selectables[fileno] = reader
                return
        super().addReader(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802 - Twisted's
        """Stop watching for readability; likewise."""
        if type(reader) in _OURS:
            fileno = reader.fileno()
            if fileno in self._reads and fileno not in self._writes:
                del self._selectables[fileno]
                self._poller.unregister(fileno)
                self._reads.remove(fileno)
                return
        super().removeReader(reader)

    def mainLoop(self) -> None:  # noqa: N802 - Twisted's
        """Run until the reactor stops.

        As the stock loop; what that does between two turns, each time, is done when
        a call is due, has come from a thread, or has been asked to stop.
        """
        while self._started:
            with self._lean_log.failuresHandled("unexpected error in the main loop"):
                self.runUntilCurrent()
                self._turns()

    def _turns(self) -> None:
        """Handle events until there is something else to do."""
        timeout = self.timeout() if self.running else 0
        self.doPoll(timeout)
        while (
            timeout != 0
            and not self.threadCallQueue
            and not self._justStopped
            and self._started
        ):
            timeout = self.timeout()
            if timeout != 0:
                self.doPoll(timeout)

    def _wait_briefly(self, timeout: float) -> None:
        """Wait for an event, for less than what epoll_wait has as its least."""
        # Its own descriptor is among a process's first: select takes those below 1024.
        select((self._poller,), (), (), timeout)

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events and hand them on, then do what waits for the turn's end."""
        if self._at_end:
            timeout = 0
        elif timeout and timeout < _FINEST_S:
            self._wait_briefly(timeout)
            timeout = 0
        try:
            events = self._poller.poll(
                -1 if timeout is None else timeout, _EVENTS_LIMIT
            )
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        find = self._selectables.get
        for fileno, event in events:
            selectable: Any = find(fileno)
            if type(selectable) in _OURS:
                try:
                    if event == EPOLLIN:
                        selectable.doRead()
                    else:
                        self._dispatch(selectable, fileno, event)
                except Exception:
                    # As the stock reactor: one connection is lost, not the process.
                    self._lean_log.failure("an event of a connection failed")
                    selectable.drop()
            elif selectable is not None:
                callWithLogger(
                    selectable, self._doReadOrWrite, selectable, fileno, event
                )
        if self._at_end:
            calls, self._at_end = self._at_end, []
            for call in calls:
                call()

    doIteration = doPoll  # noqa: N815 - Twisted's

    def _dispatch(self, one: Descriptor, fileno: int, event: int) -> None:
        if event & EPOLLIN:
            one.doRead()
            if event & EPOLLOUT and self._selectables.get(fileno) is one:
                one.doWrite()
        elif event & _DISCONNECTED:
            one.connectionLost(Failure(ConnectionLost()))
        else:
            one.doWrite()


def install() -> None:
    """Make this the reactor of the process, before anything imports one."""
    installReactor(LeanReactor())
