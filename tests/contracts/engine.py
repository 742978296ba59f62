"""What every Engine promises; run on the fake and on a real dockerd."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from haloy.engine.interface import (
    ContainerSpec,
    ContainerState,
    Engine,
    EngineEvent,
    Output,
)
from haloy.errors import Conflict, NotFound
from tests.support.docker import unique


class EngineContract:
    """Subclasses give C{engine} and C{image}: an image that runs until stopped."""

    async def made(self, engine: Engine, image: str, **labels: str) -> tuple[str, str]:
        name = unique("container")
        made = await engine.create(
            ContainerSpec(name, image, labels=labels, network="bridge")
        )
        return made, name

    async def test_life_of_a_container(self, engine: Engine, image: str) -> None:
        """Created, running with an address, exited, gone."""
        made, name = await self.made(engine, image)
        created = await engine.container(made)
        assert (created.name, created.state) == (name, ContainerState.CREATED)
        await engine.start(made)
        await engine.start(made)
        running = await engine.container(name)
        assert running.id == made
        assert running.state is ContainerState.RUNNING
        assert running.networks["bridge"].ipv4
        assert running.started_at is not None
        await engine.stop(made, 1)
        await engine.stop(made, 1)
        assert (await engine.container(made)).state is ContainerState.EXITED
        await engine.remove(made)
        await engine.remove(made)
        with pytest.raises(NotFound):
            await engine.container(made)

    async def test_attached(self, engine: Engine, image: str) -> None:
        """One that runs gets an address; what is down starts on it; both must exist."""
        made, _ = await self.made(engine, image)
        await engine.attach(made, "bridge")
        await engine.start(made)
        await engine.attach(made, "bridge")
        assert (await engine.container(made)).networks["bridge"].ipv4
        with pytest.raises(NotFound):
            await engine.attach(made, unique("network"))
        await engine.remove(made)
        with pytest.raises(NotFound):
            await engine.attach(made, "bridge")

    async def test_taken_name_is_a_conflict(self, engine: Engine, image: str) -> None:
        """Two containers never share a name."""
        made, name = await self.made(engine, image)
        with pytest.raises(Conflict):
            await engine.create(ContainerSpec(name, image, network="bridge"))
        await engine.remove(made)

    async def test_rename(self, engine: Engine, image: str) -> None:
        """The id stays, the name changes."""
        made, name = await self.made(engine, image)
        await engine.rename(made, f"{name}-old")
        assert (await engine.container(f"{name}-old")).id == made
        await engine.remove(made)

    async def test_found_by_labels(self, engine: Engine, image: str) -> None:
        """Stopped ones too; all labels must fit."""
        key = unique("label")
        one, _ = await self.made(engine, image, **{key: "1", "x": "y"})
        two, _ = await self.made(engine, image, **{key: "2"})
        both = await engine.containers({key: None})
        assert {found.id for found in both} == {one, two}
        assert [found.id for found in await engine.containers({key: "2"})] == [two]
        assert await engine.containers({key: "2", "x": "y"}) == ()
        await engine.remove(one)
        await engine.remove(two)

    async def test_image_names(self, engine: Engine, image: str) -> None:
        """A tag is a name; the image stays while it has one."""
        repository = unique("image")
        found = await engine.image(image)
        assert found is not None
        await engine.tag(image, f"{repository}:one")
        await engine.tag(image, f"{repository}:two")
        (listed,) = await engine.images(repository)
        assert listed.id == found.id
        assert {f"{repository}:one", f"{repository}:two"} <= set(listed.tags)
        await engine.untag(f"{repository}:one")
        await engine.untag(f"{repository}:one")
        assert await engine.image(f"{repository}:one") is None
        assert await engine.image(f"{repository}:two") is not None
        await engine.untag(f"{repository}:two")
        assert await engine.images(repository) == ()

    async def test_unknown_image(self, engine: Engine, image: str) -> None:
        """Asking is fine, creating from it is not."""
        name = unique("nothing")
        assert await engine.image(f"{name}:latest") is None
        with pytest.raises(NotFound):
            await engine.create(ContainerSpec(name, f"{name}:latest"))

    async def test_volumes(self, engine: Engine, image: str) -> None:
        """An existing volume keeps its labels."""
        name, label = unique("volume"), unique("label")
        await engine.ensure_volume(name, {label: "a"})
        await engine.ensure_volume(name, {label: "b"})
        assert await engine.volumes({label: "a"}) == (name,)
        assert await engine.volumes({label: "b"}) == ()
        await engine.remove_volume(name)
        await engine.remove_volume(name)
        assert await engine.volumes({label: "a"}) == ()

    async def test_events_tell_start_and_death(
        self, engine: Engine, image: str
    ) -> None:
        """The labels of the container come with each event."""
        key = unique("label")
        seen: list[EngineEvent] = []
        died: Deferred[None] = Deferred()

        def see(event: EngineEvent) -> None:
            seen.append(event)
            if event.action == "die":
                died.callback(None)

        following = Deferred.fromCoroutine(engine.events({key: None}, see))
        following.addErrback(lambda _: None)
        made, _ = await self.made(engine, image, **{key: "1"})
        await engine.start(made)
        await engine.stop(made, 1)
        await died
        following.cancel()
        await engine.remove(made)
        actions = [event.action for event in seen if event.container_id == made]
        assert actions.index("start") < actions.index("die")
        # Networks are of all containers, whatever their labels.
        ours = [event for event in seen if not event.is_network]
        assert {event.container_id for event in ours} == {made}
        assert {event.attributes[key] for event in ours} == {"1"}

    async def test_logs_of_an_unknown_container(
        self, engine: Engine, image: str
    ) -> None:
        """There is no output to wait for."""

        async def consume(output: Output) -> None:
            """Take it."""

        with pytest.raises(NotFound):
            await engine.logs("no-such-container", 10, False, consume)
