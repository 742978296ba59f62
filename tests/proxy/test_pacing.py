"""What a table costs is done a little at a time, and others have the CPU in between."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from haloy.proxy.pacing import REST_S, Pace

STEP_S = 0.00015


@define
class Worker:
    """One to whom each step takes C{STEP_S}."""

    now_s: float = 100.0
    steps: int = 0
    clock: Clock = field(factory=Clock)
    pace: Pace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pace = Pace(self.clock, lambda: self.now_s)

    def change(self, count: int) -> Iterator[None]:
        for _ in range(count):
            self.steps += 1
            self.now_s += STEP_S
            yield

    def take(self, count: int, *, serving: bool = True) -> Deferred[None]:
        steps = self.change(count)
        return Deferred.fromCoroutine(self.pace.take(steps, lambda: serving))


def test_a_turn_is_short() -> None:
    """So many steps as take 0.2 ms, one more at most; then others have theirs."""
    worker = Worker()
    taken = worker.take(7)
    turns = [worker.steps]
    while not taken.called:
        worker.clock.advance(REST_S)
        turns.append(worker.steps)
    assert turns == [2, 4, 6, 7]


def test_nobody_waits() -> None:
    """Before the service starts all is done at once."""
    worker = Worker()
    assert worker.take(50, serving=False).called
    assert worker.steps == 50


def test_who_waits_for_the_cpu_has_it_between_two_pieces() -> None:
    """Nothing is done for a while, whether requests come or not."""
    worker = Worker()
    taken = worker.take(4)
    worker.clock.advance(REST_S / 2)
    assert worker.steps == 2
    worker.clock.advance(REST_S / 2)
    assert worker.steps == 4
    assert not taken.called
    worker.clock.advance(REST_S)
    assert taken.called


def test_who_waits_for_a_turn_alone() -> None:
    """What is read of the connection to the supervisor goes by the same pace."""
    worker = Worker()
    read: list[int] = []
    worker.pace.after_a_rest(lambda: read.append(1))
    worker.clock.advance(REST_S / 2)
    assert not read
    worker.clock.advance(REST_S / 2)
    assert read == [1]


def test_one_change_after_the_other() -> None:
    """The second begins when the first is done, and when it was given up."""
    worker = Worker()
    first, second = worker.take(5), worker.take(2)
    first.addErrback(lambda failure: failure.trap(CancelledError))
    assert worker.steps == 2
    first.cancel()
    assert worker.steps == 4
    worker.clock.advance(REST_S)
    assert worker.steps == 4
    assert second.called
