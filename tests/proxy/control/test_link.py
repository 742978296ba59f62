"""One connection of the control protocol, end to end in memory."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from haloy.model.names import AppName
from haloy.proxy.control.link import (
    FILES_LIMIT,
    LONG_FRAME_BYTES,
    Link,
    ProxyRefused,
)
from haloy.proxy.control.protocol import (
    FRAME_LIMIT_BYTES,
    AccessLog,
    Done,
    Hello,
    Meaning,
    Message,
    Packed,
    Serve,
    Unpark,
    pack,
    packed,
)
from haloy.proxy.interface import AccessSettings

AnswerIt = Callable[[Message], Awaitable[Message]]
Turn = Callable[[Callable[[], None]], None]


class Wire(StringTransport):
    """A transport that can be aborted."""

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's
        self.disconnecting = True


async def done(message: Message) -> Message:
    return Done()


@define
class End:
    """One end, and what it was told."""

    answer_it: AnswerIt = done
    clock: Clock = field(factory=Clock)
    news: list[Message] = field(factory=list)
    lost: int = 0
    begun: int = 0
    wire: Wire = field(factory=Wire)

    def link(self, *, at_once: bool = False, turn: Turn | None = None) -> Link:
        async def answer(link: Link, message: Message, came: Packed) -> Message:
            return await self.answer_it(message)

        def lost(link: Link) -> None:
            self.lost += 1

        def begun(link: Link) -> None:
            self.begun += 1

        made = Link(
            self.clock,
            answer,
            lambda _, m, __: self.news.append(m),
            lost,
            begun,
            at_once=at_once,
            turn=turn,
        )
        made.makeConnection(self.wire)
        return made


def pass_on(one: End, other: Link) -> None:
    """Bring what C{one} has sent to C{other}."""
    data = one.wire.value()
    one.wire.clear()
    other.dataReceived(data)


def test_others_come_between_long_frames() -> None:
    """A long frame has a turn of the reactor to itself; short ones come together."""
    long = Unpark(AppName("a" * LONG_FRAME_BYTES))
    telling, told = End(), End()
    teller, hearer = telling.link(), told.link()
    for message in (Serve(), long, long, Serve(), Serve()):
        teller.tell(message)
    pass_on(telling, hearer)
    assert told.news == [Serve(), long]
    assert told.wire.producerState == "paused"
    between: list[int] = []
    told.clock.callLater(0, lambda: between.append(len(told.news)))
    told.clock.advance(0)
    assert between == [3]
    assert told.news == [Serve(), long, long, Serve(), Serve()]
    assert told.wire.producerState == "producing"
    assert not told.clock.getDelayedCalls()


def test_who_is_asked_for_turns_says_when_the_next_frame_is_read() -> None:
    """A worker that answers requests reads on when these have passed."""
    long = Unpark(AppName("a" * LONG_FRAME_BYTES))
    telling, told = End(), End()
    later: list[Callable[[], None]] = []
    teller, hearer = telling.link(), told.link(turn=later.append)
    for message in (long, long, Serve()):
        teller.tell(message)
    pass_on(telling, hearer)
    assert told.news == [long]
    later.pop()()
    assert told.news == [long, long]
    assert told.wire.producerState == "paused"
    later.pop()()
    assert told.news == [long, long, Serve()]
    assert not later
    assert not told.clock.getDelayedCalls()


def test_who_carries_no_requests_takes_all_at_once() -> None:
    """The supervisor passes a table on as it comes: no turn for each part."""
    long = Unpark(AppName("a" * LONG_FRAME_BYTES))
    telling, told = End(), End()
    teller, hearer = telling.link(), told.link(at_once=True)
    for _ in range(3):
        teller.tell(long)
    pass_on(telling, hearer)
    assert told.news == [long, long, long]
    assert not told.clock.getDelayedCalls()


def test_nothing_is_taken_after_the_end() -> None:
    """What stands behind a long frame is not worked on once the connection is lost."""
    telling, told = End(), End()
    teller, hearer = telling.link(), told.link()
    teller.tell(Unpark(AppName("a" * LONG_FRAME_BYTES)))
    teller.tell(Serve())
    pass_on(telling, hearer)
    hearer.connectionLost(Failure(ConnectionLost()))
    told.clock.advance(0)
    assert len(told.news) == 1


def test_a_message_is_packed_once_for_several_links() -> None:
    """It arrives as one that each link has packed itself."""
    heard: list[Message] = []

    async def hear(message: Message) -> Message:
        heard.append(message)
        return Done()

    once = packed(Hello(1, "é"))
    for _ in range(2):
        asking, working = End(), End(hear)
        asker, worker = asking.link(), working.link()
        asker.ask(once, 5)
        pass_on(asking, worker)
        pass_on(working, asker)
    assert heard == [Hello(1, "é")] * 2


def test_a_question_gets_its_answer() -> None:
    """Answers find their questions whatever their order; news need none."""
    waiting: list[Deferred[Message]] = []

    async def later(message: Message) -> Message:
        answer: Deferred[Message] = Deferred()
        waiting.append(answer)
        return await answer

    asking, working = End(), End(later)
    asker, worker = asking.link(), working.link()
    assert (asking.begun, asking.lost) == (1, 0)
    got: list[Any] = []
    asker.ask(Hello(1, "a"), 5).addCallback(got.append)
    asker.ask(Hello(2, "b"), 5).addCallback(got.append)
    pass_on(asking, worker)
    waiting[1].callback(Hello(2, "second"))
    waiting[0].callback(Hello(1, "first"))
    worker.tell(Serve())
    pass_on(working, asker)
    assert got == [Hello(2, "second"), Hello(1, "first")]
    assert asking.news == [Serve()]
    assert not asking.clock.getDelayedCalls()


@pytest.mark.parametrize("problem", [ValueError("not so"), ProxyRefused("not so")])
def test_a_refusal_says_why(problem: Exception) -> None:
    """What cannot be done fails at the one who asked, in one sentence."""

    async def refuse(message: Message) -> Message:
        raise problem

    asking, working = End(), End(refuse)
    asker, worker = asking.link(), working.link()
    refusals: list[Any] = []
    asker.ask(Serve(), 5).addErrback(lambda one: refusals.append(one.value))
    pass_on(asking, worker)
    pass_on(working, asker)
    assert [(type(one), str(one)) for one in refusals] == [(ProxyRefused, "not so")]


def test_a_fault_of_ours_is_told_and_logged(logged_failures: list[Failure]) -> None:
    """The other side does not wait for an answer that never comes."""

    async def fail(message: Message) -> Message:
        raise RuntimeError("oops")

    asking, working = End(), End(fail)
    asker, worker = asking.link(), working.link()
    reasons: list[str] = []
    asker.ask(Serve(), 5).addErrback(lambda one: reasons.append(str(one.value)))
    pass_on(asking, worker)
    pass_on(working, asker)
    assert reasons == ["a fault: oops"]
    assert [one.getErrorMessage() for one in logged_failures] == ["oops"]
    logged_failures.clear()


def test_no_answer_in_time() -> None:
    """The limit ends the wait; the late answer is nobody's."""
    asking, working = End(), End()
    asker, worker = asking.link(), working.link()
    kinds: list[Any] = []
    asker.ask(Serve(), 5).addErrback(lambda one: kinds.append(one.type))
    asking.clock.advance(5)
    assert kinds == [defer.TimeoutError]
    pass_on(asking, worker)
    pass_on(working, asker)


def test_the_end_of_the_connection() -> None:
    """Who waits learns it, who comes later too, and the owner once."""
    asking = End()
    asker = asking.link()
    kinds: list[Any] = []
    asker.ask(Serve(), 5).addErrback(lambda one: kinds.append(one.type))
    asker.connectionLost()
    asker.ask(Serve(), 5).addErrback(lambda one: kinds.append(one.type))
    asker.tell(Serve())
    assert kinds == [ConnectionLost, ConnectionLost]
    assert asking.lost == 1


def test_what_was_being_answered_is_given_up() -> None:
    """A question's work ends with its connection."""
    working: Deferred[Message] = Deferred()

    async def wait(message: Message) -> Message:
        return await working

    end = End(wait)
    link = end.link()
    frame = pack(Meaning.QUESTION, 1, Serve())
    link.dataReceived(len(frame).to_bytes(4, "big") + frame)
    link.connectionLost()
    assert working.called
    assert not end.wire.value()


@pytest.mark.parametrize(
    "data",
    [
        (FRAME_LIMIT_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\x02{}",
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_something_else_ends_the_connection(data: bytes) -> None:
    """Whoever does not speak the protocol is not listened to."""
    end = End()
    link = end.link()
    link.dataReceived(data)
    assert end.wire.disconnecting
    assert not link.up


def test_an_answer_nobody_asked_for() -> None:
    """It does nothing."""
    link = End().link()
    frame = pack(Meaning.ANSWER, 9, Unpark("a"))  # type: ignore[arg-type]  # any text
    link.dataReceived(len(frame).to_bytes(4, "big") + frame)
    assert link.up


LOG = AccessSettings("json")


def joined(reactor: Any, answer_it: AnswerIt) -> tuple[Link, Link]:
    """Return two ends of a socket between them; the other one answers."""

    async def answer(link: Link, message: Message, came: Packed) -> Message:
        return await answer_it(message)

    links = [Link(reactor, answer, lambda *_: None, lambda _: None) for _ in range(2)]
    for one, link in zip(socket.socketpair(), links, strict=True):
        with one:
            one.setblocking(False)
            reactor.adoptStreamConnection(
                one.fileno(),
                socket.AF_UNIX,
                Factory.forProtocol(lambda: link),  # noqa: B023 - called at once
            )
    return links[0], links[1]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_files_go_with_questions(reactor: Any, tmp_path: Path) -> None:
    """Each with its own, whatever is said between; none stays open afterwards."""

    async def write(message: Message) -> Message:
        if isinstance(message, AccessLog):
            settings = message.settings
            assert settings is not None
            os.write(message.descriptor, settings.form.encode())
            assert not os.get_inheritable(message.descriptor)
        return Done()

    asker, worker = joined(reactor, write)
    files = [os.open(tmp_path / str(n), os.O_WRONLY | os.O_CREAT) for n in range(5)]
    before = descriptors()
    asked = []
    for number, one in enumerate(files):
        asked.append(asker.ask(Unpark(AppName("a" * 100_000)), 5))
        once = packed(AccessLog(AccessSettings(str(number)), one))
        asked.append(asker.ask(once, 5))
    for one in files:  # they are the link's by now
        os.close(one)
    for question in asked:
        assert await question == Done()
    assert [(tmp_path / str(n)).read_text() for n in range(5)] == list("01234")
    assert descriptors() == before - len(files)
    asker.abort()
    worker.abort()
    await deferLater(reactor, 0.05)


async def test_no_file_is_left_open(reactor: Any, tmp_path: Path) -> None:
    """Refused, without an answer, or without a frame: the end closes them."""
    unanswered: list[Deferred[Message]] = []

    async def answer(message: Message) -> Message:
        if unanswered:
            raise ValueError("no")
        unanswered.append(Deferred())
        return await unanswered[0]

    before = descriptors()
    asker, worker = joined(reactor, answer)
    with (tmp_path / "file").open("w") as file:
        waiting = asker.ask(AccessLog(LOG, file.fileno()), 5)
        with pytest.raises(ProxyRefused):
            await asker.ask(AccessLog(LOG, file.fileno()), 5)
        transport: Any = asker.transport
        transport.sendFileDescriptor(file.fileno())
        asker.tell(Serve())
        await deferLater(reactor, 0.1)
        for link in (asker, worker):
            link.abort()
        with pytest.raises(ConnectionLost):
            await waiting
        await deferLater(reactor, 0.1)
    assert descriptors() == before


async def test_too_many_files_are_not_our_protocol(
    reactor: Any, tmp_path: Path
) -> None:
    """The connection ends."""
    asker, worker = joined(reactor, done)
    with (tmp_path / "file").open("w") as file:
        transport: Any = asker.transport
        for _ in range(FILES_LIMIT + 1):
            transport.sendFileDescriptor(file.fileno())
        asker.tell(Unpark(AppName("a" * 100)))
        while worker.up or asker.up:
            await deferLater(reactor, 0.02)


async def test_without_its_file_a_message_says_so(reactor: Any) -> None:
    """A number of the sender's is never taken for one of ours."""
    heard: list[Message] = []

    async def hear(message: Message) -> Message:
        heard.append(message)
        return Done()

    asking, working = End(), End(hear)
    working.link().stringReceived(pack(Meaning.QUESTION, 1, AccessLog(LOG, 1)))
    assert heard == [AccessLog(LOG, -1)]
    assert asking.lost == 0


def test_a_file_is_not_closed_by_a_guess(tmp_path: Path) -> None:
    """Only who has read the question can end the loan: the file is sent by then."""

    class Files(Wire):
        def sendFileDescriptor(self, descriptor: int) -> None:  # noqa: N802 - Twisted's
            lent.append(descriptor)

    lent: list[int] = []
    asking, working = End(wire=Files()), End()
    asker, worker = asking.link(), working.link()
    asker.ask(Serve(), 5)
    with (tmp_path / "file").open("w") as file:
        for _ in range(2):
            asker.ask(AccessLog(LOG, file.fileno()), 5)
    for number in range(10):
        asker.stringReceived(pack(Meaning.ANSWER, number, Done()))
    for one in lent:
        os.fstat(one)
    pass_on(asking, worker)
    pass_on(working, asker)
    for one in lent:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(one)
    assert len(set(lent)) == 2


def test_only_a_question_brings_a_file() -> None:
    """News and answers with one leave nothing open that nobody closes."""
    reading, writing = os.pipe()
    telling = End()
    link = telling.link()
    link.fileDescriptorReceived(reading)
    link.stringReceived(pack(Meaning.NEWS, 0, AccessLog(LOG, 9)))
    assert telling.news == [AccessLog(LOG, -1)]
    link.connectionLost(Failure(ConnectionLost()))
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reading)
    os.close(writing)
