"""One connection of the control protocol: questions with their answers, and news.

Both ends are the same. What comes is worked on in the order in which it came, up to
the first wait of each question. With a question a file can go (C{SCM_RIGHTS}): it
comes before or with the frame's first byte, and files come in the order of frames.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import evolve
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IFileDescriptorReceiver, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.errors import HaloyError
from haloy.proxy.control.protocol import (
    FRAME_LIMIT_BYTES,
    AccessLog,
    Meaning,
    Message,
    Packed,
    Refused,
    as_came,
    descriptor_of,
    pack,
    unpack,
)
from haloy.tasks import Tasks

#: After a frame from this size on, other events come before the next one: what stands
#: in it took long to read, and requests wait meanwhile.
LONG_FRAME_BYTES: Final = 1024
#: Files that have come and whose frames have not; more is not our protocol.
FILES_LIMIT: Final = 16
NUMBER_BITS: Final = 128


class ProxyRefused(HaloyError):
    """The other side has not done what it was asked for."""

    code = "proxy-refused"


@implementer(IFileDescriptorReceiver)
class Link(Int32StringReceiver):
    """One end.

    C{answer} is called with every question, C{news} with every piece of news, both as
    a message and as it came, and C{lost} once, when the connection has ended. A frame
    that is none of the protocol ends the connection.
    """

    MAX_LENGTH = FRAME_LIMIT_BYTES
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        answer: Callable[[Link, Message, Packed], Awaitable[Message]],
        news: Callable[[Link, Message, Packed], None],
        lost: Callable[[Link], None],
        begun: Callable[[Link], None] | None = None,
        *,
        at_once: bool = False,
        turn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Prepare; with C{at_once} nobody waits for a turn, and frames get none.

        C{turn} calls what it is given when others had theirs: after the events that
        are there, unless somebody knows better.
        """
        self._clock = clock
        self._answer = answer
        self._news = news
        self._lost = lost
        self._begun = begun
        self._at_once = at_once
        self._turn = turn or self._next_turn
        self._tasks = Tasks(self._log)
        self._number = 0
        self._asked: dict[int, Deferred[Message]] = {}
        self._received: deque[int] = deque()
        self._lent: dict[int, int] = {}
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
        for descriptor in (*self._received, *self._lent.values()):
            os.close(descriptor)
        self._received.clear()
        self._lent.clear()
        asked, self._asked = self._asked, {}
        for waiter in asked.values():
            waiter.errback(Failure(ConnectionLost()))
        self._lost(self)

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: N802 - Twisted's
        """End the connection: this is not our protocol."""
        self._log.error("a frame of {length} bytes: not our protocol", length=length)
        self.abort()

    def fileDescriptorReceived(self, descriptor: int) -> None:  # noqa: N802 - Twisted's
        """Take a file, for the next question that one goes with."""
        os.set_inheritable(descriptor, False)
        self._received.append(descriptor)
        if len(self._received) > FILES_LIMIT:
            self._log.error("files without messages: not our protocol")
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
        if len(string) >= LONG_FRAME_BYTES and not self._at_once:
            self.pauseProducing()
            self._turn(self._go_on)
        if isinstance(message, AccessLog):
            message = evolve(message, descriptor=self._file_of(meaning, message))
        if meaning is Meaning.QUESTION:
            self._tasks.start("answering", self._work(number, message, as_came(string)))
        elif meaning is Meaning.NEWS:
            self._news(self, message, as_came(string))
        else:
            self._take_back(number)
            waiter = self._asked.pop(number, None)
            if waiter is None:
                return  # nobody waits for it any more
            if isinstance(message, Refused):
                waiter.errback(Failure(ProxyRefused(message.reason)))
            else:
                waiter.callback(message)

    def _file_of(self, meaning: Meaning, message: AccessLog) -> int:
        """Return the file that came for C{message}, -1: none did (descriptors end)."""
        if meaning is not Meaning.QUESTION or message.descriptor < 0:
            return -1
        return self._received.popleft() if self._received else -1

    def _lend(self, descriptor: int) -> int:
        """Send a file; return the number of its question, which cannot be guessed.

        The file is closed at the answer: who can give one has read the question, so
        the file is no longer to be sent. Otherwise whatever is opened next, under the
        number of the one that was closed, would be sent in its place.
        """
        copy = os.dup(descriptor)
        number = secrets.randbits(NUMBER_BITS)
        self._lent[number] = copy
        transport: Any = self.transport
        transport.sendFileDescriptor(copy)
        return number

    def _take_back(self, number: int) -> None:
        copy = self._lent.pop(number, -1)
        if copy >= 0:
            os.close(copy)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _next_turn(self, call: Callable[[], None]) -> None:
        self._clock.callLater(0, call)

    def _go_on(self) -> None:
        """Take the next frame, if there is still somebody who sends them."""
        if self.up:
            self.resumeProducing()

    async def _work(self, number: int, message: Message, came: Packed) -> None:
        meaning, answer = Meaning.ANSWER, None
        try:
            answer = await self._answer(self, message, came)
        except CancelledError:
            raise
        except (HaloyError, ValueError, OSError) as problem:
            meaning, answer = Meaning.REFUSAL, Refused(str(problem))
        except Exception as fault:
            self._say(Meaning.REFUSAL, number, Refused(f"a fault: {fault}"))
            raise
        finally:
            if (descriptor := descriptor_of(message)) >= 0:
                os.close(descriptor)
        self._say(meaning, number, answer)

    # --- what owners call ---------------------------------------------------------

    def tell(self, message: Message | Packed) -> None:
        """Send news; without a connection it is lost."""
        self._say(Meaning.NEWS, 0, message)

    def ask(self, message: Message | Packed, limit_s: float) -> Deferred[Message]:
        """Return the answer to C{message}.

        It fails with L{ProxyRefused}, with C{ConnectionLost}, with C{TimeoutError}
        after C{limit_s}, or with C{OSError} where no descriptor is left for a file.
        """
        if not self.up:
            return defer.fail(ConnectionLost())
        descriptor = descriptor_of(message)
        try:
            number = self._lend(descriptor) if descriptor >= 0 else self._next()
        except OSError as problem:
            return defer.fail(problem)

        def forget(_: Deferred[Message]) -> None:
            self._asked.pop(number, None)

        waiter: Deferred[Message] = Deferred(forget)
        self._asked[number] = waiter
        self._say(Meaning.QUESTION, number, message)
        return waiter.addTimeout(limit_s, self._clock)

    def abort(self) -> None:
        """End the connection now, if there is one."""
        self.up = False
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def _say(self, meaning: Meaning, number: int, message: Message | Packed) -> None:
        if self.up:
            self.sendString(pack(meaning, number, message))
