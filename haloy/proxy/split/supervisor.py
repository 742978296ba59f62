"""The supervisor of the split form: holds the sockets, tells workers what to serve.

Carries no request itself. haloyd tells it everything by the control socket; what it
was told is kept on disk, so that it starts with routes and TLS while haloyd is away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from haloy.config.private import make_directory
from haloy.model.certificate import Challenge, Secret
from haloy.model.names import AppName
from haloy.proxy.control.changes import (
    CertificatesReader,
    added,
    certificate_parts,
    together,
)
from haloy.proxy.control.door import Door
from haloy.proxy.control.programs import with_releases
from haloy.proxy.control.protocol import (
    AccessLog,
    CertificatesPart,
    Configure,
    Done,
    Drain,
    Drained,
    Follow,
    Message,
    Packed,
    Park,
    Present,
    Reading,
    TablePart,
    Tickets,
    Traffic,
    Unpark,
    Withdraw,
)
from haloy.proxy.control.server import ControlServer
from haloy.proxy.interface import Leftover
from haloy.proxy.split.passing import Passing
from haloy.proxy.split.sockets import Sockets, listening
from haloy.proxy.split.state_files import KeptFiles
from haloy.proxy.split.state_writer import Writer
from haloy.proxy.split.worker import read_settings
from haloy.proxy.split.worker_pool import LEAN, Member, WorkerPool
from haloy.proxy.tls.tickets import SharedKeys
from haloy.tasks import Tasks

#: What a drain may take longer than its limits before we stop waiting for it.
_GRACE_S: Final = 10.0


@frozen
class Plan:
    """How to run.

    C{group}: who may use the control socket besides root and ourselves. C{inherited}:
    descriptors from systemd. C{confine} is called when everything is bound: privileges
    end there. C{stop_s}: what answers under way get at a stop.
    """

    workers: int
    control: Path
    state: Path
    http: str = ":80"
    https: str = ":443"
    group: int | None = None
    inherited: Sequence[int] = ()
    confine: Callable[[], None] = lambda: None
    stop_s: float = 30.0
    reactor: str = LEAN


class Supervisor(Service):
    """C{twistd haloy-proxy}."""

    _log = Logger()

    def __init__(self, reactor: Any, plan: Plan, now: Callable[[], datetime]) -> None:
        self._reactor = reactor
        self._plan = plan
        self._now = now
        self._tasks = Tasks(self._log)
        self._files = KeptFiles(plan.state)
        self._settings: Mapping[str, Any] = {}
        self._tables = Passing()
        self._certificates = CertificatesReader()
        self._challenges: dict[Challenge, None] = {}
        self._orphans: set[Challenge] = set()  # of a haloyd that is gone
        self._parked_until_s: dict[AppName, float] = {}
        self._tickets = SharedKeys(reactor, self._new_tickets)
        self._following = False
        self._access_log: AccessLog | None = None  # nobody has said
        self._writer = Writer(reactor, self._tasks, plan.state)
        self._sockets = Sockets()
        self._control: Door | None = None
        self._server: ControlServer | None = None
        self._workers: WorkerPool | None = None

    # --- the service --------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Bind, while we still may. @raise ConfigError: something cannot be bound."""
        super().privilegedStartService()
        self._bind()

    def _bind(self) -> Door:
        """Return the control socket, bound once as the others."""
        if self._control is not None:
            return self._control
        plan = self._plan
        self._sockets = listening(plan.http, plan.https, list(plan.inherited))
        try:
            self._control = Door(plan.control, plan.group)
        except BaseException:
            self._sockets.close()
            raise
        return self._control

    def startService(self) -> None:
        """Serve what was served, then take orders."""
        super().startService()
        control = self._bind()
        self._plan.confine()
        self._restore()
        workers = self._workers = WorkerPool(
            self._reactor,
            self._sockets,
            self._plan.workers,
            self._brief,
            self._news,
            self._plan.reactor,
        )
        self._server = ControlServer(
            self._reactor,
            control,
            self._plan.group,
            self._answer,
            self._heard,
            lambda: len(workers.serving),
            self._left,
        )
        self._server.start()
        self._tickets.start()
        self._tasks.start("starting the workers", self._begin(workers))

    async def _begin(self, workers: WorkerPool) -> None:
        await workers.start()
        if self.running and not workers.serving:
            self._log.error(
                "no worker could be started, nobody is served: {problem}; "
                "this goes on trying",
                problem=workers.problem,
            )
            await workers.somebody_serves()
        if not self.running:  # stopped meanwhile: there is nothing to announce
            return
        self.serves()
        self._log.info(
            "haloy-proxy serves: {count} workers, http {http}, https {https}, "
            "table {generation}",
            count=len(workers.serving),
            http=self.http_port,
            https=self.https_port,
            generation=self._tables.table.generation,
        )

    def serves(self) -> None:
        """Learn, once, that workers serve."""

    def stopService(self) -> Deferred[None]:
        """Accept no more; what is under way gets its time."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._tickets.stop()
        if self._server is not None:
            self._server.stop()
        self._sockets.close()
        if self._workers is not None:
            await self._workers.stop(self._plan.stop_s + _GRACE_S)
        await self._tasks.stop()
        self._keep_access_log(AccessLog())
        self._writer.write_now()

    def reload(self) -> None:
        """Replace the workers by ones from the code that is installed now."""
        if self._workers is not None:
            self._workers.reload()

    @property
    def http_port(self) -> int:
        """The port for plain requests, 0 without one."""
        return _port(self._sockets.http)

    @property
    def https_port(self) -> int:
        """The port for TLS, 0 without one."""
        return _port(self._sockets.https)

    @property
    def members(self) -> tuple[Member, ...]:
        """All workers that are alive, those that only drain included."""
        return () if self._workers is None else self._workers.members

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the workers that accept connections."""
        return (
            () if self._workers is None else tuple(m.pid for m in self._workers.serving)
        )

    # --- what a new worker is told ------------------------------------------------

    def _restore(self) -> None:
        try:
            make_directory(self._plan.state)
        except OSError as problem:
            self._writer.not_kept(problem)
        kept = self._files.load(self._now())
        try:
            read_settings(kept.settings)
            self._settings = kept.settings
        except ValueError as problem:
            self._log.error("settings are not used: {problem}", problem=str(problem))
        self._tables.begin(kept.table)
        for one in certificate_parts(None, kept.certificates):
            self._certificates.take(one)

    def _brief(self) -> Sequence[Message]:
        now_s = self._reactor.seconds()
        workers = self._plan.workers
        own = {"stop_s": self._plan.stop_s, "accept_at_once": 2 if workers > 1 else 64}
        return (
            Configure({**self._settings, **own}),
            Tickets(self._tickets.keys),
            *self._certificates.brief,
            *self._tables.brief,
            *(Present(challenge) for challenge in self._challenges),
            *(
                Park(app, until_s - now_s)
                for app, until_s in self._parked_until_s.items()
                if until_s > now_s
            ),
            Follow(self._following),
            *(() if self._access_log is None else (self._access_log,)),
        )

    def _news(self, message: Message) -> None:
        if self._server is None or self._workers is None:
            return
        if isinstance(message, Reading):
            members = self._workers.members
            fed = [one.stats for one in members if one.serving]
            message = Reading(together(fed))
        self._server.tell(message)

    def _new_tickets(self, keys: Secret) -> None:
        if self._workers is not None:
            self._tasks.start("renewing tickets", _tell(self._workers, Tickets(keys)))

    # --- what haloyd says ---------------------------------------------------------

    async def _answer(self, message: Message, came: Packed) -> Message:
        workers = self._workers
        if workers is None:
            raise ValueError("the proxy has not started")
        if isinstance(message, Configure):
            self._configure(message, workers)
            return Done()
        if isinstance(message, Drain):
            limits = message.limits
            limit_s = limits.requests_s + limits.tunnels_s + _GRACE_S
            left = Leftover(0, 0)
            for one in await workers.ask(message, limit_s):
                if isinstance(one, Drained):
                    left = added(left, one.left)
            return Drained(left)
        if isinstance(message, Traffic):
            told = await workers.ask_each(message)
            return with_releases((m.release, m.retired, one) for m, one in told)
        if isinstance(message, TablePart):
            if await self._tables.take(message, came, workers):
                self._write_table()
            return Done()
        if not self._note(message):
            raise ValueError(f"the proxy is not asked for {type(message).__name__}")
        # What has been read is not written once more, where it is large.
        is_large = isinstance(message, CertificatesPart)
        await workers.ask(came if is_large else message)
        return Done()

    def _heard(self, message: Message, came: Packed) -> None:
        if isinstance(message, TablePart) and self._workers is not None:
            self._tables.hear(message, came, self._workers)

    def _configure(self, message: Configure, workers: WorkerPool) -> None:
        """Take settings; workers have them from their start, so they are replaced."""
        read_settings(message.settings)
        if message.settings != self._settings:
            self._settings = message.settings
            self._write_table()
            if workers.members:
                workers.reload()

    def _note(self, message: Message) -> bool:
        """Keep in mind what workers that come later must know."""
        if isinstance(message, CertificatesPart):
            if self._certificates.take(message) is not None:
                self._write_certificates()
                self._forget_orphans()
        elif isinstance(message, Present):
            self._challenges[message.challenge] = None
            self._orphans.discard(message.challenge)
        elif isinstance(message, Withdraw):
            self._challenges.pop(message.challenge, None)
        elif isinstance(message, Park):
            until_s = self._reactor.seconds() + message.limit_s
            self._parked_until_s[message.app] = until_s
        elif isinstance(message, Unpark):
            self._parked_until_s.pop(message.app, None)
        elif isinstance(message, Follow):
            self._following = message.access_log
        elif isinstance(message, AccessLog):
            self._keep_access_log(message)
        else:
            return False
        return True

    def _keep_access_log(self, message: AccessLog) -> None:
        """Keep the file open, for workers to come and while haloyd is away.

        @raise ValueError: no file came, or one that could hold up who writes to it.
        """
        kept = -1
        if message.settings is not None:
            if message.descriptor < 0:
                raise ValueError("the file of the access log did not come along")
            if not stat.S_ISREG(os.fstat(message.descriptor).st_mode):
                raise ValueError("the access log is not a plain file")
            kept = os.dup(message.descriptor)
        former, self._access_log = self._access_log, evolve(message, descriptor=kept)
        if former is not None and former.descriptor >= 0:
            os.close(former.descriptor)

    def _left(self) -> None:
        """Nobody reads requests any more; everything else stays as it is."""
        self._orphans |= self._challenges.keys()
        if self._workers is not None:
            self._tables.give_up(self._workers)
        if self._following and self._workers is not None and self.running:
            self._following = False
            self._tasks.start("leaving the log", _tell(self._workers, Follow(False)))

    def _forget_orphans(self) -> None:
        """Answer no more what a new haloyd, that has told its own, does not know."""
        orphans, self._orphans = self._orphans, set()
        for challenge in orphans:
            self._challenges.pop(challenge, None)
            if self._workers is not None:
                telling = _tell(self._workers, Withdraw(challenge))
                self._tasks.start("withdrawing", telling)

    # --- the disk -----------------------------------------------------------------

    def _write_table(self) -> None:
        settings, table = self._settings, self._tables.table
        self._writer.write("table", lambda: self._files.save_table(settings, table))

    def _write_certificates(self) -> None:
        held = self._certificates.certificates
        self._writer.write("certificates", lambda: self._files.save_certificates(held))


async def _tell(workers: WorkerPool, message: Message) -> None:
    """Tell all workers; what they answer is of no interest."""
    await workers.ask(message)


def _port(sockets: Sequence[Any]) -> int:
    return int(sockets[0].getsockname()[1]) if sockets else 0
