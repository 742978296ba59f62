"""What C{daemon.events} makes of Docker's hints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import cast

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.daemon.events import APP_LABEL, EventStream
from haloy.engine.interface import Container, ContainerState, Engine, EngineEvent
from haloy.errors import EngineUnavailable, NotFound
from haloy.model.names import AppName


@define(eq=False)
class Streams:
    """The one call of an engine that events need; the test ends the streams."""

    labels: dict[str, dict[str, str]] = field(factory=dict)
    consumers: list[Callable[[EngineEvent], None]] = field(factory=list)
    ends: list[Deferred[None]] = field(factory=list)

    async def events(
        self,
        labels: Mapping[str, str | None],
        consume: Callable[[EngineEvent], None],
    ) -> None:
        self.consumers.append(consume)
        end: Deferred[None] = Deferred()
        self.ends.append(end)
        await end

    async def container(self, container_id: str) -> Container:
        if container_id not in self.labels:
            raise NotFound(f"no such container: {container_id}")
        labels = self.labels[container_id]
        return Container(container_id, "x", "x", "x", labels, ContainerState.RUNNING)


@define(eq=False)
class Pokes:
    """Remembers what ought to be looked at."""

    apps: list[AppName | None] = field(factory=list)

    def poke(self, app: AppName | None) -> None:
        self.apps.append(app)


@define(eq=False)
class Scene:
    engine: Streams = field(factory=Streams)
    clock: Clock = field(factory=Clock)
    pokes: Pokes = field(factory=Pokes)
    died: list[str] = field(factory=list)

    def started(self) -> EventStream:
        stream = EventStream(
            cast(Engine, self.engine), self.clock, self.pokes, self.died.append
        )
        stream.startService()
        self.pokes.apps.clear()
        return stream

    def say(self, action: str, **attributes: str) -> None:
        self.engine.consumers[-1](
            EngineEvent(
                action,
                "c1",
                {APP_LABEL: "shop", **attributes},
                datetime(2026, 11, 24, tzinfo=UTC),
            )
        )


@pytest.mark.parametrize("action", ["die", "oom", "stop", "pause", "destroy"])
def test_death_is_told_at_once(action: str) -> None:
    """E2: the address is given up before reconciliation has looked."""
    scene = Scene()
    scene.started()
    scene.say(action)
    assert scene.died == ["c1"]
    assert scene.pokes.apps == [AppName("shop")]


def test_signal_that_need_not_end_a_process_is_no_death() -> None:
    """`docker kill -s HUP` reloads an app; it goes on serving."""
    scene = Scene()
    scene.started()
    scene.say("kill", signal="1")
    assert scene.died == []
    scene.say("kill", signal="15")
    assert scene.died == ["c1"]


def test_start_only_wakes_reconciliation() -> None:
    """Rule 1: events are hints, never the truth."""
    scene = Scene()
    scene.started()
    scene.say("start")
    scene.say("health_status: healthy")
    scene.say("exec_start: ls")
    assert scene.died == []
    assert scene.pokes.apps == [AppName("shop")] * 2


@pytest.mark.parametrize(
    ("labels", "poked"),
    [({"c1": {APP_LABEL: "shop"}}, ["shop"]), ({"c1": {}}, []), ({}, [])],
)
def test_other_network_is_a_hint(
    labels: dict[str, dict[str, str]], poked: list[str]
) -> None:
    """A container of an app that changes networks is looked at, others are not."""
    scene = Scene()
    scene.engine.labels = labels
    scene.started()
    scene.say("network-disconnect", container="c1")
    assert scene.died == []
    assert scene.pokes.apps == poked


def test_lost_stream_is_followed_again_and_all_is_reconciled() -> None:
    """What happened while Docker was away is not missed."""
    scene = Scene()
    scene.started()
    scene.engine.ends[0].errback(EngineUnavailable("connection refused"))
    assert len(scene.engine.consumers) == 1
    scene.clock.advance(0.5)
    assert len(scene.engine.consumers) == 2
    assert scene.pokes.apps == [None]


def test_retries_slow_down_while_docker_is_away() -> None:
    """A dead Docker costs a call every five seconds, not a busy loop."""
    scene = Scene()
    scene.started()
    for _ in range(8):
        scene.engine.ends[-1].errback(EngineUnavailable("refused"))
        scene.clock.advance(5)
    assert len(scene.engine.consumers) == 9
    scene.engine.ends[-1].errback(EngineUnavailable("refused"))
    scene.clock.advance(4)
    assert len(scene.engine.consumers) == 9


def test_stopping_ends_the_stream() -> None:
    """Nothing is left on the reactor."""
    scene = Scene()
    stream = scene.started()
    stopped = Deferred.fromCoroutine(stream.stopService())
    assert stopped.called
    assert scene.clock.getDelayedCalls() == []
