"""What a table costs is done between requests, and not between one and its answer."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from haloy.proxy.pacing import REST_S, Pace

STEP_S = 0.00015


@define
class Worker:
    """One that answers C{requests}, and to whom each step takes C{STEP_S}.

    C{turns}: how many steps were done at the end of each turn.
    """

    requests: int = 0
    turns: list[int] = field(factory=list)
    now_s: float = 100.0
    steps: int = 0
    clock: Clock = field(factory=Clock)
    pace: Pace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pace = Pace(self.clock, lambda: self.now_s, self.count)

    def count(self) -> int:
        self.turns.append(self.steps)
        return self.requests

    def change(self, count: int) -> Iterator[None]:
        for _ in range(count):
            self.steps += 1
            self.now_s += STEP_S
            yield

    def take(self, count: int, *, serving: bool = True) -> Deferred[None]:
        steps = self.change(count)
        return Deferred.fromCoroutine(self.pace.take(steps, lambda: serving))


def test_a_turn_is_short() -> None:
    """So many steps as take 0.2 ms, one more at most; then the reactor has its turn."""
    worker = Worker()
    taken = worker.take(7)
    assert worker.steps == 2
    assert not worker.turns
    worker.clock.advance(0)
    assert worker.turns == [2, 4, 6]
    assert taken.called
    assert worker.steps == 7


def test_nobody_waits() -> None:
    """Before the service starts all is done at once."""
    worker = Worker()
    assert worker.take(50, serving=False).called
    assert worker.steps == 50


def test_an_answer_passes_before_the_next_piece() -> None:
    """After a turn in which a request came nothing is done for a while."""
    worker = Worker()
    taken = worker.take(6)
    worker.requests += 1
    worker.clock.advance(0)
    worker.clock.advance(REST_S / 2)
    assert worker.steps == 2
    worker.clock.advance(REST_S / 2)
    assert worker.steps == 6
    assert taken.called


def test_requests_without_end_do_not_hold_up_a_table() -> None:
    """Each piece waits once, however many come: a table is in force soon."""
    worker = Worker()
    taken = worker.take(200)
    rounds = 0
    while not taken.called:
        worker.requests += 1
        worker.clock.advance(REST_S / 4)
        rounds += 1
    assert rounds <= 100 * 6


def test_who_waits_for_a_turn_alone() -> None:
    """What is read of the connection to the supervisor goes by the same pace."""
    worker = Worker()
    read: list[int] = []
    worker.pace.after_requests(lambda: read.append(1))
    assert not read
    worker.clock.advance(0)
    assert read == [1]
    worker.requests += 1
    worker.pace.after_requests(lambda: read.append(2))
    worker.clock.advance(0)
    assert read == [1]
    worker.clock.advance(REST_S)
    assert read == [1, 2]


def test_one_change_after_the_other() -> None:
    """The second begins when the first is done, and when it was given up."""
    worker = Worker()
    first, second = worker.take(5), worker.take(2)
    first.addErrback(lambda failure: failure.trap(CancelledError))
    assert worker.steps == 2
    first.cancel()
    assert worker.steps == 4
    worker.clock.advance(0)
    assert worker.steps == 4
    assert second.called
