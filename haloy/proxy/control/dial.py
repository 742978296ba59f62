"""How haloyd reaches the control socket, and what it says when it cannot."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure as TwistedFailure

from haloy.errors import HaloyError
from haloy.proxy.control.link import Link, ProxyRefused
from haloy.proxy.control.protocol import (
    PROTOCOL,
    Hello,
    Message,
    Packed,
    Welcome,
)
from haloy.proxy.control.release import RELEASE, version_problem

GREETING_LIMIT_S: Final = 10.0


class ProxyUnavailable(HaloyError):
    """There is no proxy that does what it is asked for."""

    code = "proxy-unavailable"


async def dial(
    reactor: Any,
    path: str,
    heard: Callable[[Link, Message, Packed], None],
    lost: Callable[[Link], None],
) -> Link:
    """Return a link to the proxy at C{path} that understands us.

    @raise ConnectError: nobody listens there.
    @raise ProxyRefused: the proxy does not want us, or speaks another version.
    """
    made: Deferred[None] = Deferred()
    link = Link(reactor, _refuse, heard, lost, lambda _: made.callback(None))
    reactor.connectUNIX(path, _Dial(link, made), timeout=5)
    await made
    try:
        await _greet(link)
    except BaseException:
        link.abort()
        raise
    return link


class _Dial(ClientFactory):
    """Connects one link."""

    noisy = False

    def __init__(self, link: Link, made: Deferred[None]) -> None:
        self._link = link
        self._made = made

    def buildProtocol(self, address: Any) -> Link:
        """Return the link, which says itself when it stands."""
        return self._link

    def clientConnectionFailed(  # noqa: N802 - Twisted's
        self, connector: Any, reason: TwistedFailure
    ) -> None:
        """Pass it on."""
        self._made.errback(reason)


async def _greet(link: Link) -> None:
    """Find out whether the two releases understand each other."""
    welcome = await link.ask(Hello(PROTOCOL, RELEASE), GREETING_LIMIT_S)
    if not isinstance(welcome, Welcome):
        raise ProxyRefused("it does not greet back")
    problem = version_problem(Hello(welcome.protocol, welcome.release))
    if problem:
        raise ProxyRefused(problem)


async def _refuse(link: Link, message: Message, came: Packed) -> Message:
    raise ValueError("haloyd is not asked")


def reason_of(problem: Exception) -> str:
    """Return a sentence for what kept us from talking to the proxy."""
    if isinstance(problem, ConnectError):
        return _REFUSALS.get(problem.osError, _NOBODY)
    if isinstance(problem, ConnectionLost):
        return "it ended the connection (may this user control it?)"
    if isinstance(problem, defer.TimeoutError):
        return "it does not answer; if that lasts, restart haloy-proxy"
    return str(problem) or "it does not answer"


_NOBODY: Final = "nobody listens there: start haloy-proxy"
_REFUSALS: Final = {
    errno.ENOENT: "nobody listens there, there is no such file: start haloy-proxy, "
    "with the --control that proxy: control: in haloyd.yaml names",
    errno.EACCES: "this user may not get there: it has to be in the group of that "
    "file, and the folder has to let it in",
    errno.EAGAIN: "too many wait there already: if that lasts, restart haloy-proxy",
}
