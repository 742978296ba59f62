"""One connection of the control protocol: questions with their answers, and news.

Both ends are the same. What comes is worked on in the order in which it came, up to
the first wait of each question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from haloy.errors import HaloyError
from haloy.proxy.control.protocol import (
    FRAME_LIMIT_BYTES,
    Meaning,
    Message,
    Packed,
    Refused,
    pack,
    unpack,
)
from haloy.tasks import Tasks

#: After a frame from this size on, other events come before the next one: what stands
#: in it took long to read, and requests wait meanwhile.
LONG_FRAME_BYTES: Final = 2048


class ProxyRefused(HaloyError):
    """The other side has not done what it was asked for."""

    code = "proxy-refused"


class Link(Int32StringReceiver):
    """One end.

    C{answer} is called with every question, C{news} with every piece of news, and
    C{lost} once, when the connection has ended. A frame that is none of the protocol
    ends the connection.
    """

    MAX_LENGTH = FRAME_LIMIT_BYTES
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        answer: Callable[[Link, Message], Awaitable[Message]],
        news: Callable[[Link, Message], None],
        lost: Callable[[Link], None],
        begun: Callable[[Link], None] | None = None,
    ) -> None:
        self._clock = clock
        self._answer = answer
        self._news = news
        self._lost = lost
        self._begun = begun
        self._tasks = Tasks(self._log)
        self._number = 0
        self._asked: dict[int, Deferred[Message]] = {}
        self.up = False

    # --- what the connection says -------------------------------------------------

    def connectionMade(self) -> None:
        """Be of use."""
        self.up = True
        if self._begun is not None:
            self._begun(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail what was asked, and give up what was being answered."""
        self.up = False
        self._tasks.cancel()
        asked, self._asked = self._asked, {}
        for waiter in asked.values():
            waiter.errback(Failure(ConnectionLost()))
        self._lost(self)

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: N802 - Twisted's
        """End the connection: this is not our protocol."""
        self._log.error("a frame of {length} bytes: not our protocol", length=length)
        self.abort()

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's
        """Take a frame."""
        try:
            meaning, number, message = unpack(string)
        except ValueError as problem:
            self._log.error(
                "the control connection ends: {problem}", problem=str(problem)
            )
            self.abort()
            return
        if len(string) >= LONG_FRAME_BYTES:
            self.pauseProducing()
            self._clock.callLater(0, self._go_on)
        if meaning is Meaning.QUESTION:
            self._tasks.start("answering", self._work(number, message))
        elif meaning is Meaning.NEWS:
            self._news(self, message)
        else:
            waiter = self._asked.pop(number, None)
            if waiter is None:
                return  # nobody waits for it any more
            if isinstance(message, Refused):
                waiter.errback(Failure(ProxyRefused(message.reason)))
            else:
                waiter.callback(message)

    def _go_on(self) -> None:
        """Take the next frame, if there is still somebody who sends them."""
        if self.up:
            self.resumeProducing()

    async def _work(self, number: int, message: Message) -> None:
        meaning, answer = Meaning.ANSWER, None
        try:
            answer = await self._answer(self, message)
        except CancelledError:
            raise
        except (HaloyError, ValueError, OSError) as problem:
            meaning, answer = Meaning.REFUSAL, Refused(str(problem))
        except Exception as fault:
            self._say(Meaning.REFUSAL, number, Refused(f"a fault: {fault}"))
            raise
        self._say(meaning, number, answer)

    # --- what owners call ---------------------------------------------------------

    def tell(self, message: Message) -> None:
        """Send news; without a connection it is lost."""
        self._say(Meaning.NEWS, 0, message)

    def ask(self, message: Message | Packed, limit_s: float) -> Deferred[Message]:
        """Return the answer to C{message}.

        It fails with L{ProxyRefused}, with C{ConnectionLost}, or with
        C{TimeoutError} after C{limit_s}.
        """
        if not self.up:
            waiter: Deferred[Message] = Deferred()
            waiter.errback(Failure(ConnectionLost()))
            return waiter
        self._number += 1
        number = self._number

        def forget(_: Deferred[Message]) -> None:
            self._asked.pop(number, None)

        waiter = Deferred(forget)
        self._asked[number] = waiter
        self._say(Meaning.QUESTION, number, message)
        return waiter.addTimeout(limit_s, self._clock)

    def abort(self) -> None:
        """End the connection now."""
        self.up = False
        transport: Any = self.transport
        transport.abortConnection()

    def _say(self, meaning: Meaning, number: int, message: Message | Packed) -> None:
        if self.up:
            self.sendString(pack(meaning, number, message))
