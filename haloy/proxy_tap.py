"""C{twistd haloy-proxy}: options, and the service they make."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from twisted.application.service import IService, IServiceCollection
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from haloy.clock import make_monotonic
from haloy.config.private import make_directory
from haloy.errors import ConfigError, InvalidValue
from haloy.garbage import keep_what_is_here
from haloy.observers import choose_observer
from haloy.proxy.listener import parse_listen
from haloy.proxy.privileges import become, give_up_privileges, group_id
from haloy.proxy.split.sockets import first_environment, inherited
from haloy.proxy.split.supervisor import Plan, Supervisor
from haloy.proxy.split.worker_pool import LEAN, STOCK
from haloy.systemd import Notifier, notifier
from haloy.turns import SHARED_TURN_NS, let_others_first

NAME = "haloy-proxy"
DEFAULT_CONTROL = "/run/haloy/proxy.sock"
DEFAULT_STATE = "/var/lib/haloy-proxy"
WORKERS_LIMIT = 64


class Options(BaseOptions):
    """What can be said on the command line; haloyd tells the rest."""

    synopsis = "[options]"
    longdesc = (
        "Route HTTP and HTTPS to containers, as haloyd says over the control socket. "
        "SIGHUP or SIGUSR2 replaces the workers and loses no request."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["workers", "w", "auto", "Worker processes; auto: one for each core."],
        ["control", "c", DEFAULT_CONTROL, "Control socket, for haloyd."],
        ["state-dir", "s", DEFAULT_STATE, "Where routes and certificates are kept."],
        ["http", None, ":80", "HOST:PORT or :PORT for plain requests; empty: none."],
        ["https", None, ":443", "The same for TLS."],
        ["user", "u", None, "Become this user when everything is bound (as root)."],
        ["group", "g", "haloy-proxy", "Group that may use the control socket."],
        ["stop-limit", None, 30.0, "Seconds for answers under way at a stop.", float],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["stock-reactor", None, "Run workers on Twisted's own epoll reactor."],
    ]


class Proxy(Supervisor):
    """The supervisor with the signals of a process of its own."""

    _systemd: Notifier

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Join the application, and choose how it logs before logging begins."""
        if isinstance(parent, Componentized):
            stream = sys.__stdout__ or sys.stdout
            observer = choose_observer("auto", stream, False, os.environ, NAME)
            parent.setComponent(ILogObserver, observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind, or say in one line why not, and end with 1."""
        try:
            super().privilegedStartService()
        except ConfigError as problem:
            _give_up(problem)

    def startService(self) -> None:
        """Replace the workers on SIGHUP and SIGUSR2 from now on."""
        let_others_first(SHARED_TURN_NS)
        self._systemd = notifier(self._reactor, os.environ)
        try:
            super().startService()
        except ConfigError as problem:
            _give_up(problem)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, self._signalled)
        Deferred.fromCoroutine(self._systemd.start())

    def serves(self) -> None:
        """Tell systemd: what was served last is served again, that is ready."""
        keep_what_is_here()
        self._systemd.ready("serving")

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.reload)


def _give_up(problem: ConfigError) -> NoReturn:
    """End before anything runs; twistd has sent what is printed to its log."""
    sys.__stderr__.write(f"haloy-proxy: {problem}\n") if sys.__stderr__ else None
    sys.exit(1)


def makeService(options: Options) -> IService:
    """Return the supervisor. @raise UsageError: an option is not right."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251  (twistd's entry)

    try:
        for listen in (options["http"], options["https"]):
            if listen:
                parse_listen(listen)
    except InvalidValue as problem:
        raise UsageError(str(problem)) from problem
    if not options["http"] and not options["https"]:
        raise UsageError("nothing to listen on: --http and --https are both empty")
    make_monotonic(reactor)
    state = Path(os.path.abspath(options["state-dir"]))
    plan = Plan(
        workers=_workers(options["workers"]),
        control=Path(os.path.abspath(options["control"])),
        state=state,
        http=options["http"],
        https=options["https"],
        group=group_id(options["group"]),
        inherited=inherited(first_environment(), os.getpid()),
        confine=_confine(options["user"], state),
        stop_s=options["stop-limit"],
        reactor=STOCK if options["stock-reactor"] else LEAN,
    )
    return Proxy(reactor, plan, lambda: datetime.now(UTC))


def _workers(text: str) -> int:
    if text == "auto":
        return min(len(os.sched_getaffinity(0)), WORKERS_LIMIT)
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_LIMIT:
        raise UsageError(f"--workers {text} is neither auto nor 1 to {WORKERS_LIMIT}")
    return int(text)


def _confine(user: str | None, state: Path) -> Callable[[], None]:
    """Return what gives up all that is not needed once everything is bound."""

    def confine() -> None:
        if user is not None:
            with suppress(OSError):  # told where it is used
                make_directory(state)
            become(user, state)
        give_up_privileges()

    return confine
