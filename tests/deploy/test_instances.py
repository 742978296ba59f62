"""Whose containers these are."""

from __future__ import annotations

import pytest

from haloy.deploy.instances import made_by, only_others
from haloy.engine.interface import Container, ContainerSpec
from haloy.model.labels import INSTANCE, MANAGED_BY
from tests.fakes.engine import FakeEngine

ONE, TWO = "1" * 16, "2" * 16


async def made(*names: str | None) -> tuple[Container, ...]:
    """Return a container of each haloyd; C{""}: of a Go daemon, C{None}: by hand."""
    engine = FakeEngine()
    engine.have_image("app:one")
    for number, name in enumerate(names):
        labels = {} if name is None else {MANAGED_BY: "haloyd"}
        labels |= {INSTANCE: name} if name else {}
        await engine.create(ContainerSpec(f"c{number}", "app:one", labels=labels))
    return await engine.containers({})


async def test_made_by() -> None:
    """Only what a haloyd with a name has made."""
    found = made_by(await made(TWO, None, ONE, "", TWO))
    assert {key: [one.name for one in some] for key, some in found.items()} == {
        ONE: ["c2"],
        TWO: ["c0", "c4"],
    }


@pytest.mark.parametrize(
    ("names", "instance"),
    [((), ONE), ((None, ""), ONE), ((ONE, TWO), ONE), ((TWO,), "")],
)
async def test_nothing_to_say(names: tuple[str | None, ...], instance: str) -> None:
    """Nothing was made, or something by this one, or there is only one haloyd."""
    assert only_others(await made(*names), instance) == ""


async def test_all_are_others() -> None:
    """The way out is the command as it has to be typed."""
    said = only_others(await made(TWO, TWO, None), ONE)
    assert "2 containers" in said
    assert f"`haloyd adopt {TWO}`" in said
