"""Rise and fall: when a run of probe results becomes a verdict. Pure."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve, frozen

from haloy.model.app import Assessment, Verdict


@frozen
class Thresholds:
    """How many results in a row change a verdict; both 1 or more."""

    fall: int
    rise: int


@frozen
class Health:
    """An assessment and the run of probe results that contradict it.

    C{UNKNOWN} becomes a verdict with the first result: a replica that was never
    probed owes nobody a run of successes.
    """

    assessment: Assessment
    against: int = 0

    def after(
        self, passed: bool, reason: str, limits: Thresholds, now: datetime
    ) -> Health:
        """Return the health after one more result; C{reason} is what was seen."""
        verdict = Verdict.HEALTHY if passed else Verdict.UNHEALTHY
        current = self.assessment
        if verdict is current.verdict:
            if reason == current.reason and not self.against:
                return self
            return Health(evolve(current, reason=reason))
        needed = limits.rise if passed else limits.fall
        if current.verdict is Verdict.UNKNOWN:
            needed = 1 if passed else limits.fall
        if self.against + 1 < needed:
            return evolve(self, against=self.against + 1)
        return Health(Assessment(verdict, reason, now))
