"""What is remembered between orders, so that a restart orders nothing.

Values and their JSON; where it is kept is C{certs.files}' matter.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen
from cattrs import BaseValidationError
from cattrs.preconf.json import make_converter

from haloy.errors import CertificateError
from haloy.model.names import DomainName

#: Orders older than this count for no limit.
ORDERS_KEPT: Final = timedelta(days=7)

_converter = make_converter()


@frozen
class Failures:
    """What went wrong in a row for one certificate.

    C{names} are those it was to have: an edited configuration starts anew. C{kind}
    is that of L{haloy.certs.acme.AcmeError}, C{problem} the type of the CA's last
    problem document, C{directory} the CA's. C{view} are the addresses that DNS gave
    for the names: when they change, the next try is at once. C{document} is the
    CA's problem document (RFC 9457) as JSON, C{""} without one.
    """

    count: int
    last: datetime
    reason: str
    names: tuple[DomainName, ...]
    not_before: datetime
    kind: str = ""
    problem: str = ""
    directory: str = ""
    view: tuple[str, ...] = ()
    document: str = ""


@frozen
class Window:
    """When the CA wants a certificate renewed (RFC 9773), and what we chose of it.

    C{identifier} is that of the certificate; C{ask_again} when to ask the CA again.
    """

    identifier: str
    start: datetime
    end: datetime
    chosen: datetime
    ask_again: datetime


@frozen
class Attempt:
    """An order that was sent, for the CA's limits; not C{issued}: it has failed."""

    at: datetime
    names: tuple[DomainName, ...]
    directory: str
    issued: bool
    renewal: bool = False


@frozen
class Memory:
    """All of it; C{paused} is by directory, the rest by canonical name."""

    failures: Mapping[DomainName, Failures] = field(factory=dict)
    windows: Mapping[DomainName, Window] = field(factory=dict)
    paused: Mapping[str, datetime] = field(factory=dict)
    attempts: tuple[Attempt, ...] = ()

    def failed(self, name: DomainName, failures: Failures) -> Memory:
        """Return the memory with C{failures} of C{name}."""
        return evolve(self, failures={**self.failures, name: failures})

    def forgiven(self, name: DomainName) -> Memory:
        """Return the memory without failures of C{name}."""
        if name not in self.failures:
            return self
        left = {key: one for key, one in self.failures.items() if key != name}
        return evolve(self, failures=left)

    def known_to(self, authorities: Collection[str]) -> Memory:
        """Return the memory without failures at a CA that is configured no more.

        What hindered that one says nothing of another: nobody waits for it. Nor of the
        same one if it was not reached: C{ca_file} may be another by now.
        """
        left = {
            name: one
            for name, one in self.failures.items()
            if (not one.directory or one.directory in authorities)
            and one.kind != "transport"
        }
        return evolve(self, failures=left)

    def suggested(self, name: DomainName, window: Window) -> Memory:
        """Return the memory with the C{window} for the certificate C{name}."""
        return evolve(self, windows={**self.windows, name: window})

    def pausing(self, directory: str, until: datetime) -> Memory:
        """Return the memory with no orders at C{directory} before C{until}."""
        before = self.paused.get(directory, until)
        return evolve(self, paused={**self.paused, directory: max(before, until)})

    def attempted(self, attempt: Attempt) -> Memory:
        """Return the memory with one more order; old ones are left out."""
        kept = [one for one in self.attempts if one.at > attempt.at - ORDERS_KEPT]
        return evolve(self, attempts=(*kept, attempt))

    def without(self, attempt: Attempt) -> Memory:
        """Return the memory without one order."""
        kept = list(self.attempts)
        if attempt in kept:
            kept.remove(attempt)
        return evolve(self, attempts=tuple(kept))


def to_json(memory: Memory) -> str:
    """Return C{memory} as JSON; instants are ISO 8601 with their offset."""
    return str(_converter.dumps(memory, indent=1))


def from_json(text: str) -> Memory:
    """Return what L{to_json} wrote.

    @raise CertificateError: it is something else.
    """
    try:
        # Unpacked: a list would pass for an object without keys.
        found: Memory = _converter.structure({**json.loads(text)}, Memory)
    except (ValueError, TypeError, BaseValidationError) as problem:
        raise CertificateError("is not what was written") from problem
    instants = [
        *found.paused.values(),
        *(one.at for one in found.attempts),
        *(at for one in found.failures.values() for at in (one.last, one.not_before)),
        *(
            at
            for one in found.windows.values()
            for at in (one.start, one.end, one.chosen, one.ask_again)
        ),
    ]
    if any(at.tzinfo is None for at in instants):
        raise CertificateError("an instant without its offset")
    return found
