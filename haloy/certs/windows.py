"""When a CA wants its certificates renewed (RFC 9773): asked now and then."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from attrs import define, evolve, field
from twisted.logger import Logger

from haloy.certs.authority import Authority
from haloy.certs.memory import Window
from haloy.certs.need import identifier
from haloy.errors import HaloyError
from haloy.model.certificate import Certificate

#: When to ask again for a window that was not to be had.
ASK_AGAIN: Final = timedelta(hours=6)


@define(eq=False)
class Windows:
    """Asks for windows and chooses an instant inside of them."""

    _now: Callable[[], datetime]
    _random: random.Random
    _log: Logger = field(factory=Logger, init=False)
    _not_before: dict[str, datetime] = field(factory=dict, init=False)

    def due(self, certificate: Certificate, known: Window | None) -> bool:
        """Return whether to ask about C{certificate}, whose window was C{known}."""
        mark, now = identifier(certificate), self._now()
        if now < self._not_before.get(mark, now):
            return False
        return known is None or known.identifier != mark or now >= known.ask_again

    async def ask(
        self, authority: Authority, certificate: Certificate, known: Window | None
    ) -> Window | None:
        """Return the window for C{certificate}; C{None}: there is none to be had.

        The instant that was chosen stays while the window does. Trouble is no
        trouble with the certificate.
        """
        mark = identifier(certificate)
        self._not_before[mark] = self._now() + ASK_AGAIN
        try:
            found = await authority.suggestion(certificate)
        except HaloyError as problem:
            self._log.debug("no renewal window: {problem}", problem=str(problem))
            return None
        if found is None:
            return None
        del self._not_before[mark]
        same = (mark, found.start, found.end)
        if known is not None and (known.identifier, known.start, known.end) == same:
            return evolve(known, ask_again=found.ask_again)
        chosen = found.start + self._random.random() * (found.end - found.start)
        return Window(mark, found.start, found.end, chosen, found.ask_again)
