"""How long the phases of deployments take: sums since haloyd began, for the metrics.

The phases follow each other, in a roll of several replicas more than once; what is
left of the old version drains when the deployment has ended already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from haloy.deploy import plan

APPS_LIMIT: Final = 1000
OTHER: Final = "other"


class Phase(Enum):
    """What a deployment is busy with.

    C{PULLING}: with its image; C{SWITCHING}: with tables, and with the old containers
    that have to end before it goes on; C{DRAINING}: waits for requests and tunnels.
    """

    PULLING = "pulling"
    STARTING = "starting"
    CHECKING = "checking"
    SWITCHING = "switching"
    DRAINING = "draining"


def phase_of(step: plan.Step) -> Phase:
    """Return the phase that a step of a plan belongs to."""
    match step:
        case plan.Create():
            return Phase.STARTING
        case plan.AwaitHealthy():
            return Phase.CHECKING
        case plan.DrainStep():
            return Phase.DRAINING
        case _:
            return Phase.SWITCHING


@define(eq=False)
class AppsToldApart:
    """The first C{APPS_LIMIT} apps by their names, all others as C{OTHER}."""

    _known: set[str] = field(factory=set, init=False)

    def label(self, app: str) -> str:
        """Return as what C{app} is counted."""
        if len(self._known) < APPS_LIMIT:
            self._known.add(app)
        return app if app in self._known else OTHER


@define(eq=False)
class PhaseTimes:
    """The sums. @ivar _clock: monotonic seconds."""

    _clock: IReactorTime
    _spent_s: dict[tuple[str, str], float] = field(factory=dict, init=False)
    _apps: AppsToldApart = field(factory=AppsToldApart, init=False)

    @property
    def spent_s(self) -> Mapping[tuple[str, str], float]:
        """Seconds by app and phase."""
        return self._spent_s

    @contextmanager
    def during(self, app: str, phase: Phase) -> Iterator[None]:
        """Count what is done meanwhile, also when it fails."""
        began_s = self._clock.seconds()
        try:
            yield
        finally:
            self.add(app, phase, self._clock.seconds() - began_s)

    def add(self, app: str, phase: Phase, seconds: float) -> None:
        """Count C{seconds}."""
        key = (self._apps.label(app), phase.value)
        self._spent_s[key] = self._spent_s.get(key, 0.0) + seconds
