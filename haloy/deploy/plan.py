"""(what runs, what is wanted, strategy) -> steps. Pure.

A plan names new replicas by number and old ones by container id; it never says
"everything except". It ends when traffic has moved: what is left of the old
deployment drains afterwards.
"""

from __future__ import annotations

from attrs import frozen

from haloy.model.app import Naming, Strategy


@frozen
class Create:
    """Create and start new replica C{number}."""

    number: int


@frozen
class AwaitHealthy:
    """Wait until these new replicas are fit to serve."""

    numbers: tuple[int, ...]


@frozen
class Switch:
    """In one table: requests to these new replicas, none to these old containers."""

    numbers: tuple[int, ...]
    old: tuple[str, ...] = ()


@frozen
class DrainStep:
    """Wait for the requests of these old containers, not longer than a step may."""

    containers: tuple[str, ...]


@frozen
class StopDrained:
    """Stop these old containers, later those that still have requests or tunnels."""

    containers: tuple[str, ...]


@frozen
class Stop:
    """Stop these old containers."""

    containers: tuple[str, ...]


@frozen
class SetAside:
    """Free the app's name, if one of these stopped old containers has it."""

    containers: tuple[str, ...]


@frozen
class Park:
    """Hold new requests while nobody serves."""


@frozen
class Unpark:
    """Send held requests on."""


Step = (Create | AwaitHealthy | Switch | DrainStep | StopDrained | Stop | SetAside) | (
    Park | Unpark
)


def make_plan(
    strategy: Strategy, naming: Naming, replicas: int, old: tuple[str, ...]
) -> tuple[Step, ...]:
    """Return the steps that bring C{replicas} new replicas in the place of C{old}.

    @param old: containers that serve now, in the order in which they go.
    """
    if strategy is Strategy.REPLACE:
        return _replace(naming, replicas, old)
    if strategy is Strategy.BLUE_GREEN:
        return _blue_green(replicas, old)
    return _rolling(replicas, old)


def _rolling(replicas: int, old: tuple[str, ...]) -> tuple[Step, ...]:
    """Return: new 1 healthy and routed, old 1 drained and stopped, new 2, and so on.

    The last old one goes with the last new one, so that after a failure at any step
    somebody of the old version serves at once. Its end is not waited for.
    """
    steps: list[Step] = []
    left = list(old)
    for number in range(1, replicas + 1):
        going: tuple[str, ...] = ()
        if number == replicas:
            going = tuple(left)
        elif len(left) > 1:
            going = (left.pop(0),)
        steps += [Create(number), AwaitHealthy((number,)), Switch((number,), going)]
        if going and number < replicas:
            steps += [DrainStep(going), StopDrained(going)]
    return tuple(steps)


def _blue_green(replicas: int, old: tuple[str, ...]) -> tuple[Step, ...]:
    """All new ones healthy, then one switch."""
    numbers = tuple(range(1, replicas + 1))
    creating: list[Step] = [Create(number) for number in numbers]
    return (*creating, AwaitHealthy(numbers), Switch(numbers, old))


def _replace(naming: Naming, replicas: int, old: tuple[str, ...]) -> tuple[Step, ...]:
    """Stop all, start all, requests parked meanwhile."""
    numbers = tuple(range(1, replicas + 1))
    steps: list[Step] = []
    if old:
        steps += [Park(), Switch((), old), DrainStep(old), Stop(old)]
        if naming is Naming.STATIC:
            steps.append(SetAside(old))
    steps += [Create(number) for number in numbers]
    steps += [AwaitHealthy(numbers), Switch(numbers)]
    if old:
        steps.append(Unpark())
    return tuple(steps)
