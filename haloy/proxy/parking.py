"""Requests held while their app has no upstream, as in a deployment that replaces.

They wait in the order of their arrival, up to a number and until a time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from haloy.model.names import AppName

if TYPE_CHECKING:
    from haloy.proxy.upstream_selection import Seeker

PARKED_LIMIT: Final = 256


class Parking:
    """Who is parked, by app. Times are by the wheel, in seconds."""

    __slots__ = ("_held", "_until_s")

    def __init__(self) -> None:
        self._held: dict[AppName, dict[Seeker, None]] = {}
        self._until_s: dict[AppName, float] = {}

    @property
    def apps(self) -> tuple[AppName, ...]:
        """The apps whose new requests are held."""
        return tuple(self._until_s)

    def begin(self, app: AppName, until_s: float) -> None:
        """Hold requests of C{app} that find no upstream."""
        self._held.setdefault(app, {})
        self._until_s[app] = until_s

    def end(self, app: AppName) -> None:
        """Hold no more of them, and send those that wait on."""
        self._until_s.pop(app, None)
        self.release(app)
        self._held.pop(app, None)

    def hold(self, seeker: Seeker, now_s: float) -> bool:
        """Hold a request of a parked app; false: not parked, or too many are."""
        app = AppName(seeker.app)
        held = self._held.get(app)
        left_s = self._until_s.get(app, 0.0) - now_s
        if held is None or left_s <= 0 or len(held) >= PARKED_LIMIT:
            return False
        held[seeker] = None
        seeker.wait(left_s)
        return True

    def forget(self, seeker: Seeker) -> None:
        """Forget a request that waits no longer."""
        held = self._held.get(AppName(seeker.app))
        if held is not None:
            held.pop(seeker, None)

    def release(self, app: AppName) -> None:
        """Send those of C{app} on that wait."""
        held = self._held.get(app)
        if held:
            self._held[app] = {}
            for seeker in held:
                seeker.seek()

    def release_owners(self, owners: Collection[str]) -> None:
        """Send those on whose app has upstreams now."""
        for app in tuple(self._held):
            if app in owners:
                self.release(app)

    def tick(self, now_s: float) -> None:
        """End what has been parked for its time."""
        for app, until_s in tuple(self._until_s.items()):
            if until_s <= now_s:
                self.end(app)
