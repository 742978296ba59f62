"""The workers of a supervisor: spawned, fed, watched, replaced, retired.

A worker is spawned as a new program, never forked: it runs the code that is installed
when it starts. It is told what the others know before it accepts, and gets every
change in the same order.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import (
    ConnectionLost,
    ProcessDone,
    ProcessExitedAlready,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from haloy.proxy.control.link import Link
from haloy.proxy.control.protocol import (
    Hello,
    Leave,
    Message,
    Packed,
    Reading,
    Retire,
    Serve,
    packed,
)
from haloy.proxy.control.release import installed, version_problem
from haloy.proxy.interface import ProxyStats
from haloy.proxy.shares import Shares
from haloy.proxy.split.sockets import Sockets
from haloy.proxy.split.spawning import spawn_worker
from haloy.tasks import Tasks

LEAN: Final = "haloy.proxy.reactor"
STOCK: Final = "twisted.internet.epollreactor"

#: A worker that has not said a word in so many rounds hangs, and is killed.
ROUND_S: Final = 5.0
ROUNDS_OF_SILENCE: Final = 6
#: A worker that ends sooner than this after its start makes the next one wait.
YOUNG_S: Final = 5.0
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 30.0
#: Of those that were replaced, so many may live on until their connections end.
RETIRED_LIMIT: Final = 16
RETIRED_LIMIT_S: Final = 3600.0


@define(eq=False)
class Member:
    """One worker process.

    @ivar place: which of the L{Shares} is its own.
    @ivar pid: the number of its process, 0 when none could be started.
    @ivar release: installed when it began. C{stats}: its newest reading.
    @ivar fed: it has been told everything and gets every change.
    @ivar serving: it accepts connections. C{retired}: it does no longer.
    """

    link: Link
    started_s: float
    place: int
    process: Any = None
    pid: int = 0
    release: str = ""
    stats: ProxyStats = field(factory=lambda: ProxyStats(0, 0, 0, 0, 0))
    fed: bool = False
    serving: bool = False
    retired: bool = False
    silent: int = 0
    gone: Deferred[None] = field(factory=Deferred)


class WorkerPool:
    """Keeps C{wanted} workers serving.

    C{brief} returns all that a new worker is told, in order; C{news} gets what
    workers say of themselves.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        sockets: Sockets,
        wanted: int,
        brief: Callable[[], Sequence[Message]],
        news: Callable[[Message], None],
        worker_reactor: str = LEAN,
    ) -> None:
        self._reactor = reactor
        self._sockets = sockets
        self._wanted = wanted
        self._brief = brief
        self._news = news
        self._worker_reactor = worker_reactor
        self._shares = Shares()
        self._members: list[Member] = []
        self._tasks = Tasks(self._log)
        self._stopping = False
        self._wait_s = FIRST_WAIT_S
        self._problem = ""
        self._expecting: list[Deferred[None]] = []
        self._reloading = False
        self._reload_again = False
        self._rounds = LoopingCall(self._round)
        self._rounds.clock = reactor

    # --- what the supervisor asks -------------------------------------------------

    async def start(self) -> None:
        """Return when all workers serve, or could not be started at first."""
        self._rounds.start(ROUND_S, now=False).addErrback(
            lambda failure: self._log.failure("watching the workers failed", failure)
        )
        await self._launch_all()

    async def somebody_serves(self) -> None:
        """Return when at least one worker serves."""
        while not self.serving:
            expected: Deferred[None] = Deferred()
            self._expecting.append(expected)
            await expected

    async def stop(self, limit_s: float) -> None:
        """Let all end in order, and kill what is left after C{limit_s}."""
        self._stopping = True
        await self._tasks.stop()
        if self._rounds.running:
            self._rounds.stop()
        members = tuple(self._members)
        for member in members:
            member.link.ask(Leave(), limit_s).addErrback(lambda _: None)
        ended = DeferredList([member.gone for member in members])
        late = self._reactor.callLater(limit_s, self._kill, members)
        await ended
        self._shares.close()
        if late.active():
            late.cancel()

    @property
    def problem(self) -> str:
        """Why a worker ended or was not used, the newest such case; C{""}: none."""
        return self._problem

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody who is alive, the retired included."""
        return tuple(self._members)

    @property
    def serving(self) -> tuple[Member, ...]:
        """Who accepts connections."""
        return tuple(one for one in self._members if one.serving and not one.retired)

    async def ask(
        self, message: Message | Packed, limit_s: float = ANSWER_LIMIT_S
    ) -> list[Message]:
        """Return what all say to C{message}; who ends meanwhile does not count.

        @raise ProxyRefused: one has not done it.
        @raise TimeoutError: one has not answered.
        """
        return [answer for _, answer in await self.ask_each(message, limit_s)]

    async def ask_each(
        self, message: Message | Packed, limit_s: float = ANSWER_LIMIT_S
    ) -> list[tuple[Member, Message]]:
        """As L{ask}, with who said it."""
        told = [member for member in self._members if member.fed]
        once = message if isinstance(message, Packed) else packed(message)
        found: Any = await DeferredList(
            [member.link.ask(once, limit_s) for member in told], consumeErrors=True
        )
        answers = []
        for member, (done, result) in zip(told, found, strict=True):
            if done:
                answers.append((member, result))
            elif not result.check(ConnectionLost):
                result.raiseException()
        return answers

    def tell(self, news: Packed) -> None:
        """Send news to all."""
        for member in self._members:
            if member.fed:
                member.link.tell(news)

    def reload(self) -> None:
        """Replace all workers on the same sockets; one that runs is run again."""
        if self._reloading:
            self._reload_again = True
            return
        self._reloading = True
        self._tasks.start("replacing the workers", self._reload())

    async def _reload(self) -> None:
        try:
            while True:
                self._reload_again = False
                old = [one for one in self._members if not one.retired]
                new = await self._launch_all()
                if not any(new):
                    self._log.error("new workers do not serve: the old ones stay")
                else:
                    for member in old:
                        self._retire(member)
                    self._log.info("{count} workers were replaced", count=len(old))
                if not self._reload_again:
                    return
        finally:
            self._reloading = False
            self._fill_gaps()

    # --- one worker ---------------------------------------------------------------

    async def _launch_all(self) -> list[bool]:
        """Spawn as many as are wanted; the results say which came to serve."""
        launched = [self._launch() for _ in range(self._wanted)]
        found = await DeferredList(launched, consumeErrors=True)
        return [done and bool(served) for done, served in found]

    def _launch(self) -> Deferred[bool]:
        """Spawn a worker; the result says whether it came to serve."""
        ready: Deferred[bool] = Deferred()

        async def refuse(link: Link, message: Message, came: Packed) -> Message:
            raise ValueError("a worker does not ask")

        member = Member(
            Link(
                self._reactor,
                refuse,
                lambda _, message, __: self._heard(member, message, ready),
                lambda _: None,
                at_once=True,
            ),
            self._reactor.seconds(),
            self._shares.take(),
        )
        self._members.append(member)
        try:
            self._spawn(member, ready)
        except OSError as problem:  # no descriptor or no process is left
            self._ended(member, Failure(problem), ready)
        return ready

    def _spawn(self, member: Member, ready: Deferred[bool]) -> None:
        """Start the process of C{member}. @raise OSError: it cannot be had."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            self._reactor.adoptStreamConnection(
                ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: member.link)
            )
            member.process = spawn_worker(
                self._reactor,
                self._worker_reactor,
                theirs,
                self._sockets,
                self._shares,
                member.place,
                lambda reason: self._ended(member, reason, ready),
            )
            member.pid = member.process.pid  # which Twisted forgets at its end

    def _heard(self, member: Member, message: Message, ready: Deferred[bool]) -> None:
        member.silent = 0
        if isinstance(message, Hello):
            if problem := version_problem(message):
                self._problem = problem
                self._log.error("a worker is refused: {problem}", problem=problem)
                self._kill((member,))
                return
            if member.retired:  # before it came: others know what it would be told
                return
            member.release = installed()
            self._tasks.start("starting a worker", self._feed(member, ready))
            return
        if isinstance(message, Reading):
            member.stats = message.stats
        self._news(message)

    async def _feed(self, member: Member, ready: Deferred[bool]) -> None:
        """Tell a new worker what the others know, then let it accept."""
        member.fed = True
        # All at once: nothing that changes meanwhile comes between.
        questions = (*self._brief(), Serve())
        asked = [member.link.ask(one, ANSWER_LIMIT_S) for one in questions]
        try:
            await DeferredList(asked, fireOnOneErrback=True, consumeErrors=True)
        except Exception as problem:  # whatever it is, this one is of no use
            if member.retired:
                return
            cause = getattr(problem, "subFailure", problem)
            self._problem = str(getattr(cause, "value", cause))
            self._log.error(
                "worker {pid} does not start: {problem}",
                pid=member.pid,
                problem=self._problem,
            )
            self._kill((member,))
            return
        member.serving = True
        self._wait_s = FIRST_WAIT_S
        self._log.info("worker {pid} serves", pid=member.pid)
        if not ready.called:
            ready.callback(True)
        expecting, self._expecting = self._expecting, []
        for expected in expecting:
            expected.callback(None)

    def _retire(self, member: Member) -> None:
        member.retired = True
        member.link.ask(Retire(RETIRED_LIMIT_S), ANSWER_LIMIT_S).addErrback(
            lambda _: None
        )
        retired = [one for one in self._members if one.retired]
        for oldest in retired[:-RETIRED_LIMIT]:
            self._log.warn("worker {pid} has drained for long enough", pid=oldest.pid)
            oldest.link.ask(Leave(), ANSWER_LIMIT_S).addErrback(lambda _: None)

    def _ended(self, member: Member, reason: Failure, ready: Deferred[bool]) -> None:
        if member in self._members:
            self._members.remove(member)
            self._shares.give_back(member.place)
        member.fed = False
        member.link.abort()
        member.gone.callback(None)
        if not ready.called:
            ready.callback(False)
        if self._stopping:
            return
        if not member.retired or not reason.check(ProcessDone):
            self._problem = reason.getErrorMessage()
            self._log.error(
                "worker {pid} ended: {reason}", pid=member.pid, reason=self._problem
            )
        if not member.retired and not self._reloading:
            self._replace(member)

    def _replace(self, member: Member) -> None:
        """Spawn another one: at once, or later when it did not live for long."""
        young = self._reactor.seconds() - member.started_s < YOUNG_S
        wait_s = self._next_wait_s() if young or not member.serving else 0.0
        self._tasks.start("replacing a worker", self._fill_up(wait_s))

    def _next_wait_s(self) -> float:
        """Return how long to wait before a worker that may fail as well."""
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S)
        return wait_s

    def _fill_gaps(self) -> None:
        """Spawn what a reload left out: new ones failed, old ones ended meanwhile."""
        wait_s = self._next_wait_s() if self._lacking > 0 else 0.0
        for _ in range(0 if self._stopping else self._lacking):
            self._tasks.start("replacing a worker", self._fill_up(wait_s))

    @property
    def _lacking(self) -> int:
        """How many workers are to be started, 0 or less for none."""
        return self._wanted - sum(not one.retired for one in self._members)

    async def _fill_up(self, wait_s: float) -> None:
        if wait_s:
            await deferLater(self._reactor, wait_s)
        if not self._stopping and self._lacking > 0:
            await self._launch()

    # --- watching -----------------------------------------------------------------

    def _round(self) -> None:
        for member in tuple(self._members):
            member.silent += 1
            if member.silent > ROUNDS_OF_SILENCE:
                self._log.error("worker {pid} hangs: it is killed", pid=member.pid)
                self._kill((member,))

    def _kill(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.process is None:
                continue
            try:
                member.process.signalProcess(signal.SIGKILL)
            except ProcessExitedAlready:
                continue
