"""A worker of the split form: the data path, as its supervisor tells it.

Opens no file and asks nobody but its supervisor; the access log, where there is one,
it gets from there as an open file. When that is gone it accepts no
more, lets what is open come to its end, and leaves.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, get_type_hints

from attrs import evolve, fields
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner

from haloy.clock import make_monotonic
from haloy.garbage import keep_what_is_here, look_briefly
from haloy.observers import choose_observer
from haloy.proxy.access_file import AccessFile, GivenFile, Unwritten
from haloy.proxy.access_log import AccessRecord, Sink, Visit, record_of
from haloy.proxy.control.changes import (
    CertificatesReader,
    table_reader,
)
from haloy.proxy.control.link import Link, ProxyRefused
from haloy.proxy.control.programs import with_form
from haloy.proxy.control.protocol import (
    PROTOCOL,
    AccessLog,
    CertificatesPart,
    Configure,
    Done,
    Drain,
    Drained,
    Failure,
    Follow,
    Hello,
    Leave,
    Message,
    Packed,
    Park,
    Present,
    Reading,
    Records,
    Retire,
    Serve,
    TablePart,
    Tickets,
    Traffic,
    Unpark,
    Withdraw,
)
from haloy.proxy.control.values import decoder
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.form import form, tell_of_loss
from haloy.proxy.interface import ProxyStats, UpstreamFailure
from haloy.proxy.privileges import give_up_privileges
from haloy.proxy.settings import Settings
from haloy.proxy.shares import Share, given_share
from haloy.tasks import Tasks

#: How often counts and requests are told, and after how many of these rounds even if
#: nothing has changed.
NEWS_S: Final = 0.1
QUIET_ROUNDS: Final = 10
#: Of the requests of one round, so many are told; the rest is counted.
RECORDS_LIMIT: Final = 500
ORPHANED_S: Final = 300.0


class Worker:
    """One worker."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        http: Sequence[socket.socket],
        https: Sequence[socket.socket],
        share: Share,
    ) -> None:
        self._reactor = reactor
        self._http = http
        self._https = https
        self._share = share
        self._tasks = Tasks(self._log)
        self._tables = table_reader()
        self._certificates = CertificatesReader()
        self._proxy: EmbeddedProxy | None = None
        self._link: Link | None = None
        self._access: AccessFile | None = None
        self._unwritten: Unwritten | None = Unwritten()  # until we are told
        self._lines_lost = 0
        self._follow = False
        self._records: list[AccessRecord] = []
        self._dropped = 0
        self._told: ProxyStats | None = None
        self._rounds = 0
        self._leaving = False
        self._left = False
        self._telling = LoopingCall(self._tell)
        self._telling.clock = reactor

    # --- the link -----------------------------------------------------------------

    def link(self) -> Link:
        """Return our end of the connection to the supervisor."""
        return Link(
            self._reactor,
            self._answer,
            self._heard,
            self._orphaned,
            self._greet,
            turn=self._turn,
        )

    def _turn(self, call: Callable[[], None]) -> None:
        """Let others have the CPU before the next of many messages is read."""
        if self._proxy is not None and self._proxy.running:
            self._proxy.pace.after_a_rest(call)
        else:
            self._reactor.callLater(0, call)

    def _greet(self, link: Link) -> None:
        self._link = link
        link.tell(Hello(PROTOCOL, ""))

    def _orphaned(self, link: Link) -> None:
        self._link = None
        if not self._leaving:
            self._leaving = True
            self._log.error("the supervisor is gone: this worker ends")
            self._tasks.start("leaving", self._retire(ORPHANED_S))

    def _heard(self, link: Link, message: Message, came: Packed) -> None:
        """Take a part of a table; a problem is told when the last part is."""
        if isinstance(message, TablePart):
            with suppress(ValueError):
                self._tables.take(message)

    async def _answer(self, link: Link, message: Message, came: Packed) -> Message:
        if isinstance(message, Configure):
            self._configure(message.settings)
            return Done()
        if isinstance(message, (Follow, AccessLog, Serve, Retire, Leave)):
            self._carry_out(message)
            return Done()
        proxy = self._running
        if isinstance(message, TablePart):
            table = self._tables.take(message)
            if table is not None:
                await proxy.replace_table(table)
        elif isinstance(message, CertificatesPart):
            certificates = self._certificates.take(message)
            if certificates is not None:
                await proxy.replace_certificates(certificates)
        elif isinstance(message, Present):
            await proxy.present(message.challenge)
        elif isinstance(message, Withdraw):
            await proxy.withdraw(message.challenge)
        elif isinstance(message, Drain):
            return Drained(await proxy.drain(message.key, message.limits))
        elif isinstance(message, Traffic):
            reading = evolve(await proxy.traffic(), lines_lost=self._lost())
            return with_form(reading.to_values(), form())
        elif isinstance(message, Park):
            await proxy.park(message.app, message.limit_s)
        elif isinstance(message, Unpark):
            await proxy.unpark(message.app)
        elif isinstance(message, Tickets):
            proxy.share_tickets(message.keys)
        else:
            raise ProxyRefused(f"a worker is not asked for {type(message).__name__}")
        return Done()

    def _carry_out(self, message: Follow | AccessLog | Serve | Retire | Leave) -> None:
        """Do what concerns the worker rather than what it serves."""
        if isinstance(message, Follow):
            self._follow = message.access_log
            self._choose_sink()
        elif isinstance(message, AccessLog):
            self._write_to(message)
        elif isinstance(message, Serve):
            self._serve()
        elif isinstance(message, Retire):
            self._leaving = True
            self._tasks.start("leaving", self._retire(message.limit_s))
        else:
            self._leaving = True
            self._tasks.start("leaving", self._leave())

    # --- its life -----------------------------------------------------------------

    @property
    def _running(self) -> EmbeddedProxy:
        if self._proxy is None:
            raise ValueError("settings must come first")
        return self._proxy

    def _configure(self, settings: Mapping[str, Any]) -> None:
        chosen = read_settings(settings)
        self._proxy = EmbeddedProxy(
            self._reactor,
            Settings(http=self._http, https=self._https, **chosen),
            access_log=self._sink,
            share=self._share,
        )
        self._proxy.on_upstream_failure(self._failed)

    def _serve(self) -> None:
        self._running.startService()
        self._telling.start(NEWS_S).addErrback(
            lambda failure: self._log.failure("telling the news failed", failure)
        )
        keep_what_is_here()
        look_briefly()

    async def _retire(self, limit_s: float) -> None:
        if self._proxy is not None and self._proxy.running:
            await self._proxy.retire(limit_s)
        await self._leave()

    async def _leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self._proxy is not None and self._proxy.running:
            await self._proxy.stopService()
            self._tell()
        self._write_to(AccessLog())
        if self._telling.running:
            self._telling.stop()
        self._reactor.stop()

    # --- the access log -----------------------------------------------------------

    def _write_to(self, log: AccessLog) -> None:
        """Write requests as C{log} says. @raise ValueError: the file is not there."""
        self._write_by(log)
        self._choose_sink()

    def _write_by(self, log: AccessLog) -> None:
        if log.settings is None:
            self._unwritten = None
            if self._access is not None:
                self._access.close()
                self._lines_lost += self._access.lost
                self._access = None
            return
        if log.descriptor < 0:
            raise ValueError("the file of the access log did not come along")
        place = GivenFile(os.dup(log.descriptor))
        if self._access is None:
            self._access = AccessFile(self._reactor, place, log.settings)
        else:
            self._access.configure(log.settings)
            self._access.move(place)
        if self._unwritten is not None:
            self._tell_lost(self._unwritten.lines(log.settings))
            self._unwritten = None

    def _tell_lost(self, count: int) -> None:
        """Add requests that were served before anybody said where lines go."""
        if count:
            self._lines_lost += count
            self._log.warn(
                "{count} requests have no line in the access log: they were served "
                "before haloyd was there",
                count=count,
            )

    def _lost(self) -> int:
        """Return how many lines were lost."""
        return self._lines_lost + (self._access.lost if self._access else 0)

    # --- news ---------------------------------------------------------------------

    def _failed(self, failure: UpstreamFailure) -> None:
        if self._link is not None:
            self._link.tell(Failure(failure))

    @property
    def _sink(self) -> Sink | None:
        """Whoever takes visits: no more than there has to be, as it is for each."""
        if self._follow:
            return self._follow_visit
        return self._unwritten if self._access is None else self._access.note

    def _choose_sink(self) -> None:
        if self._proxy is not None:
            self._proxy.note_at(self._sink)

    def _follow_visit(self, visit: Visit) -> None:
        """Note a visit, and tell of it."""
        if self._access is not None:
            self._access.note(visit)
        elif self._unwritten is not None:
            self._unwritten(visit)
        if len(self._records) < RECORDS_LIMIT:
            self._records.append(record_of(visit))
        else:
            self._dropped += 1

    def _tell(self) -> None:
        link = self._link
        if link is None:
            return
        if self._records:
            link.tell(Records(tuple(self._records), self._dropped))
            self._records, self._dropped = [], 0
        self._rounds += 1
        stats = self._running.stats()
        if stats != self._told or self._rounds >= QUIET_ROUNDS:
            self._told, self._rounds = stats, 0
            link.tell(Reading(stats))


def read_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of L{Settings} in C{settings}, without the listeners.

    @raise ValueError: there is something else, or something of another kind.
    """
    hints = get_type_hints(Settings)
    known = {one.name for one in fields(Settings)} - {"http", "https"}
    if not settings.keys() <= known:
        unknown = ", ".join(sorted(settings.keys() - known))
        raise ValueError(f"there is no setting {unknown}")
    return {name: decoder(hints[name])(value) for name, value in settings.items()}


def run(control: int, http: Sequence[int], https: Sequence[int]) -> None:
    """Run a worker on these descriptors until it leaves."""
    from twisted.internet import reactor as installed  # noqa: PLC0415, TID251

    reactor: Any = installed  # the one of launch
    make_monotonic(reactor)
    observer = choose_observer("auto", sys.stdout, False, os.environ, "haloy-proxy")
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    give_up_privileges()
    tell_of_loss(Logger(), form())
    worker = Worker(
        reactor,
        [socket.socket(fileno=one) for one in http],
        [socket.socket(fileno=one) for one in https],
        given_share(os.environ),
    )
    reactor.callWhenRunning(_connect, reactor, control, worker)
    reactor.run(installSignalHandlers=False)


def _connect(reactor: Any, control: int, worker: Worker) -> None:
    factory = Factory.forProtocol(worker.link)
    reactor.adoptStreamConnection(control, socket.AF_UNIX, factory)
    os.close(control)
