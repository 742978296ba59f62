"""Who may call, and how often: pure state, with the time as an argument."""

from __future__ import annotations

import hashlib
import hmac

from attrs import define, field

from haloy.errors import TooMany, Unauthorized

#: Failed authentications of one address a minute, before it must wait.
FAILURES_LIMIT = 10
FAILURES_WINDOW_S = 60.0
ADDRESSES_LIMIT = 10_000


def bearer_token(header: str | None) -> str:
    """Return the token of C{Authorization: Bearer TOKEN}.

    @raise Unauthorized: there is none; one text for every reason.
    """
    if header is None or not header.startswith("Bearer ") or not header[7:].strip():
        raise Unauthorized("authentication failed: a valid bearer token is needed")
    return header[7:].strip()


def token_hash(token: str) -> bytes:
    """Return what is kept of a token: tokens are random, so one hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def matches(token: str, kept: bytes) -> bool:
    """Return whether C{token} is the one that C{kept} was made of, in equal time."""
    return hmac.compare_digest(token_hash(token), kept)


@define(eq=False)
class FailureLimit:
    """Counts failed authentications by address; a valid token is never held up."""

    _failed: dict[str, list[float]] = field(factory=dict, init=False)

    def check(self, address: str, now_s: float) -> None:
        """@raise TooMany: C{address} has failed too often lately."""
        recent = self._recent(address, now_s)
        if len(recent) >= FAILURES_LIMIT:
            wait_s = FAILURES_WINDOW_S - (now_s - recent[0])
            raise TooMany(
                "too many failed authentications from this address",
                retry_after_s=max(wait_s, 1.0),
            )

    def failed(self, address: str, now_s: float) -> None:
        """Count one more failure."""
        if len(self._failed) >= ADDRESSES_LIMIT and address not in self._failed:
            self._failed.pop(next(iter(self._failed)))
        self._failed[address] = [*self._recent(address, now_s), now_s][-FAILURES_LIMIT:]

    def _recent(self, address: str, now_s: float) -> list[float]:
        since_s = now_s - FAILURES_WINDOW_S
        return [at_s for at_s in self._failed.get(address, ()) if at_s > since_s]


@define(eq=False)
class RateLimit:
    """A token bucket for each caller: C{rate} a second, bursts of C{burst}."""

    _rate: float
    _burst: float
    _buckets: dict[str, tuple[float, float]] = field(factory=dict, init=False)

    def take(self, key: str, now_s: float) -> None:
        """Take one call. @raise TooMany: none is left."""
        left, at_s = self._buckets.get(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._rate)
        if left < 1:
            self._buckets[key] = (left, now_s)
            raise TooMany("too many requests", retry_after_s=(1 - left) / self._rate)
        if len(self._buckets) >= ADDRESSES_LIMIT and key not in self._buckets:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[key] = (left - 1, now_s)
