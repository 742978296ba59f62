"""Deadlines behind one timer."""

from __future__ import annotations

from attrs import define, field

from haloy.proxy.timer_wheel import NEVER, TICK_S, TimerWheel


@define(eq=False)
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@define(eq=False)
class Timed:
    due_s: float = NEVER
    slot: int = 0
    fired: list[float] = field(factory=list)
    clock: Clock = field(factory=Clock)

    def expired(self) -> None:
        self.fired.append(self.clock.now_s)


def run(wheel: TimerWheel, clock: Clock, seconds: float) -> None:
    for _ in range(round(seconds / TICK_S)):
        clock.now_s += TICK_S
        wheel.tick()


def make() -> tuple[TimerWheel, Clock, Timed]:
    clock = Clock()
    return TimerWheel(clock), clock, Timed(clock=clock)


def test_a_deadline_passes_once() -> None:
    """It never comes early and at most two ticks late."""
    wheel, clock, one = make()
    wheel.arm(one, 10)
    run(wheel, clock, 10)
    assert not one.fired
    run(wheel, clock, 3 * TICK_S)
    assert len(one.fired) == 1
    run(wheel, clock, 30)
    assert len(one.fired) == 1


def test_a_deadline_can_move_later() -> None:
    """Each new arming counts from its own time."""
    wheel, clock, one = make()
    for _ in range(10):
        wheel.arm(one, 5)
        run(wheel, clock, 4)
    assert not one.fired
    run(wheel, clock, 2)
    assert len(one.fired) == 1


def test_a_deadline_can_move_earlier() -> None:
    """The earlier one counts, and the later place is no second deadline."""
    wheel, clock, one = make()
    wheel.arm(one, 60)
    wheel.arm(one, 1)
    run(wheel, clock, 2)
    assert len(one.fired) == 1
    run(wheel, clock, 90)
    assert len(one.fired) == 1


def test_a_deadline_can_be_forgotten() -> None:
    """What has no deadline any more does not expire, and can be armed again."""
    wheel, clock, one = make()
    wheel.arm(one, 1)
    one.due_s = NEVER
    run(wheel, clock, 5)
    assert not one.fired
    wheel.arm(one, 1)
    run(wheel, clock, 2)
    assert len(one.fired) == 1


def test_a_long_pause() -> None:
    """After a stop of the process everything that is due expires, the rest does not."""
    wheel, clock, one = make()
    other = Timed(clock=clock)
    wheel.arm(one, 5)
    wheel.arm(other, 5000)
    clock.now_s += 3600
    wheel.tick()
    assert one.fired
    assert not other.fired
    assert wheel.clock() == clock.now_s


def test_expiring_may_arm_again() -> None:
    """A deadline may set the next one."""
    wheel, clock, _ = make()

    class Again(Timed):
        def expired(self) -> None:
            super().expired()
            wheel.arm(self, 1)

    one = Again(clock=clock)
    wheel.arm(one, 1)
    run(wheel, clock, 10)
    assert 5 <= len(one.fired) <= 9


def held(wheel: TimerWheel, one: Timed) -> int:
    return sum(one in bucket for bucket in wheel._buckets.values())


def test_what_is_forgotten_is_not_held() -> None:
    """Nor does a deadline that moved to before its place leave anything behind."""
    wheel, clock, one = make()
    wheel.arm(one, 60)
    wheel.arm(one, 5)
    assert held(wheel, one) == 1
    wheel.forget(one)
    assert held(wheel, one) == 0
    run(wheel, clock, 70)
    assert not one.fired
    wheel.forget(one)
    wheel.arm(one, 1)
    run(wheel, clock, 2)
    assert len(one.fired) == 1


def test_one_may_be_forgotten_by_another_that_expires() -> None:
    """In the same tick."""
    wheel, clock, other = make()

    @define(eq=False)
    class First(Timed):
        def expired(self) -> None:
            super().expired()
            wheel.forget(other)

    one = First(clock=clock)
    wheel.arm(one, 1)
    wheel.arm(other, 1)
    run(wheel, clock, 3)
    assert len(one.fired) == 1
    assert not other.fired
