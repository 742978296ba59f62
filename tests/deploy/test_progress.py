"""How far a deployment has come, and waiting."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.deploy.progress import no_credentials, together, wait_at_most
from haloy.errors import DeployFailed


def test_waiting_has_a_limit() -> None:
    """What takes longer is waited for no more, and goes on."""
    clock = Clock()
    slow: Deferred[None] = Deferred()
    waiting = Deferred.fromCoroutine(wait_at_most(clock, slow, 2))
    clock.advance(2)
    assert waiting.called
    slow.callback(None)


def test_waiting_ends_early() -> None:
    """What is done sooner is waited for no longer."""
    clock = Clock()
    quick: Deferred[None] = Deferred()
    waiting = Deferred.fromCoroutine(wait_at_most(clock, quick, 2))
    seen = [waiting.called]
    quick.callback(None)
    assert [*seen, waiting.called] == [False, True]
    assert clock.getDelayedCalls() == []


def test_the_first_failure_counts() -> None:
    """The first error is raised as it is, and the others are not waited for."""
    ended: list[str] = []

    async def fails() -> None:
        raise DeployFailed("no")

    async def hangs() -> None:
        try:
            await Deferred()
        finally:
            ended.append("cancelled")

    failed = Deferred.fromCoroutine(together([hangs(), fails()]))
    with pytest.raises(DeployFailed):
        failed.result.raiseException()  # type: ignore[attr-defined]  # a Failure
    failed.addErrback(lambda _: None)
    assert ended == ["cancelled"]


def test_no_registry_is_known() -> None:
    """Without stored logins there is none for any registry."""
    assert no_credentials("docker.io") is None
