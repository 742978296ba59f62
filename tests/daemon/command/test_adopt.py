"""C{haloyd adopt} takes over what one says, and nothing by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.daemon.command.adopt import refuse
from haloy.deploy.instances import made_by
from haloy.engine.interface import ContainerSpec
from haloy.errors import Conflict, NotFound
from haloy.model.labels import INSTANCE, MANAGED_BY
from tests.daemon.command.conftest import Haloyd
from tests.fakes.engine import FakeEngine
from tests.support.docker_api import DockerApi

ONE, TWO = "1" * 16, "2" * 16


async def test_what_is_refused() -> None:
    """A name that nothing has, and to leave containers of one's own alone."""
    engine = FakeEngine()
    engine.have_image("app:one")
    for name, instance in (("shop", ONE), ("blog", TWO)):
        labels = {MANAGED_BY: "haloyd", INSTANCE: instance}
        await engine.create(ContainerSpec(name, "app:one", labels=labels))
    found = made_by(await engine.containers({}))
    with pytest.raises(NotFound, match=f"{ONE}, {TWO}"):
        refuse(found, "3" * 16, "")
    with pytest.raises(Conflict, match="shop"):
        refuse(found, TWO, ONE)
    refuse(found, TWO, "")
    refuse(found, TWO, TWO)


def test_without_containers(haloyd: Haloyd, docker: DockerApi, tmp_path: Path) -> None:
    """There is nothing to list, and nothing to take over; nothing is written."""
    done = haloyd("adopt", docker=docker.host)
    assert (done.returncode, "does not exist" in done.stderr) == (1, True)
    haloyd("init", docker=docker.host)
    done = haloyd("adopt", "--json", docker=docker.host)
    assert done.stdout == '{"instance": "", "instances": []}\n'
    done = haloyd("adopt", docker=docker.host)
    assert done.stdout == "Docker here has no containers of a haloyd.\n"
    done = haloyd("adopt", ONE, "--yes", docker=docker.host)
    assert (done.returncode, "there is: none" in done.stderr) == (1, True)
    assert not (tmp_path / "data" / "instance-id").exists()
