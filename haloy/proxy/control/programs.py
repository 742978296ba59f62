"""Which code the workers run: each tells its form, the supervisor the rest.

It goes with what they have counted, as fields that a haloyd of before leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import evolve

from haloy.proxy.control.protocol import Counted, Message
from haloy.proxy.interface import Program

_FORM: Final = "form"
_RELEASE: Final = "release"
_DRAINING: Final = "draining"
_UNKNOWN: Final = "unknown"


def with_form(values: Mapping[str, Any], form: str) -> Counted:
    """Return what a worker of that form answers."""
    return Counted(({**values, _FORM: form},))


def with_releases(told: Iterable[tuple[str, bool, Message]]) -> Counted:
    """Return what workers told, each with its release and whether it only drains."""
    return Counted(
        tuple(
            {**one, _RELEASE: release, _DRAINING: draining}
            for release, draining, answer in told
            if isinstance(answer, Counted)
            for one in answer.workers
        )
    )


def programs_of(told: Counted) -> tuple[Program, ...]:
    """Return what all workers told, those that accept connections first.

    Those of before leave out what they do not know.
    """
    return gathered(
        Program(
            str(one.get(_RELEASE, _UNKNOWN)),
            str(one.get(_FORM, _UNKNOWN)),
            draining=bool(one.get(_DRAINING)),
        )
        for one in told.workers
    )


def gathered(programs: Iterable[Program]) -> tuple[Program, ...]:
    """Return each kind once, with its number of workers; who drains comes last."""
    counted = Counter(programs)
    return tuple(
        evolve(one, workers=number)
        for one, number in sorted(counted.items(), key=lambda item: item[0].draining)
    )
