"""Tokens: what they pay for, and when they come back."""

from __future__ import annotations

from haloy.proxy.http2.budget import BURST, Budget


def test_a_burst_is_taken_and_more_is_not() -> None:
    """A thousand tokens, then no more."""
    budget = Budget(0.0)
    assert all(budget.spend(1.0, 0.0) for _ in range(1000))
    assert not budget.spend(1.0, 0.0)


def test_tokens_come_back_with_time() -> None:
    """Thirty-three a second, never more than the burst."""
    budget = Budget(0.0)
    budget.spend(BURST, 0.0)
    assert budget.spend(30.0, 1.0)
    assert not budget.spend(30.0, 1.1)
    assert budget.spend(30.0, 10000.0)
    assert budget.tokens <= BURST


def test_tokens_are_earned() -> None:
    """What the client takes of us gives some back, up to the burst."""
    budget = Budget(0.0)
    budget.spend(10.0, 0.0)
    budget.earn(4.0)
    assert budget.tokens == BURST - 6.0
    budget.earn(100.0)
    assert budget.tokens == BURST
