"""Who C{api.auth} lets in, and how often."""

from __future__ import annotations

import pytest

from haloy.api import auth
from haloy.errors import TooMany, Unauthorized


@pytest.mark.parametrize("header", [None, "", "Basic x", "Bearer ", "bearer x"])
def test_no_bearer_token(header: str | None) -> None:
    """One text for every reason."""
    with pytest.raises(Unauthorized, match="valid bearer token"):
        auth.bearer_token(header)


def test_token_is_compared_by_its_hash() -> None:
    """What is kept of a token does not give it away."""
    kept = auth.token_hash(auth.bearer_token("Bearer secret "))
    assert auth.matches("secret", kept)
    assert not auth.matches("Secret", kept)
    assert b"secret" not in kept


def test_failures_are_forgotten_after_a_minute() -> None:
    """Ten in a minute, by address."""
    limit = auth.FailureLimit()
    for second in range(10):
        limit.check("1.2.3.4", second)
        limit.failed("1.2.3.4", second)
    with pytest.raises(TooMany) as caught:
        limit.check("1.2.3.4", 10)
    assert caught.value.retry_after_s == 50
    limit.check("5.6.7.8", 10)
    limit.check("1.2.3.4", 61)


def test_remembered_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of addresses costs a fixed amount of memory."""
    monkeypatch.setattr(auth, "ADDRESSES_LIMIT", 3)
    limit, rate = auth.FailureLimit(), auth.RateLimit(1, 1)
    for number in range(5):
        limit.failed(str(number), 0)
        rate.take(str(number), 0)
    for _ in range(10):
        limit.failed("0", 0)
    with pytest.raises(TooMany):
        limit.check("0", 0)
    rate.take("0", 0)


def test_bucket_fills_by_time() -> None:
    """Rate a second, never more than the burst."""
    rate = auth.RateLimit(2, 3)
    for _ in range(3):
        rate.take("a", 0)
    with pytest.raises(TooMany) as caught:
        rate.take("a", 0)
    assert caught.value.retry_after_s == 0.5
    rate.take("b", 0)
    rate.take("a", 0.5)
    for _ in range(3):
        rate.take("a", 1000)
    with pytest.raises(TooMany):
        rate.take("a", 1000)
