"""C{haloyd adopt}: take over the containers of a haloyd that has lost its name."""

from __future__ import annotations

from collections.abc import Mapping

import click

from haloy.daemon.command.engine import ask_engine
from haloy.daemon.command.options import as_owner
from haloy.daemon.command.output import confirm, json_option, tell, tell_table
from haloy.daemon.exclusive import ExclusiveUse
from haloy.daemon.paths import Directories
from haloy.deploy.instances import made_by
from haloy.engine.interface import Container, Engine
from haloy.errors import Conflict, NotFound
from haloy.model.labels import APP, MANAGED_BY
from haloy.store.instance import keep_name, kept_name

Made = Mapping[str, tuple[Container, ...]]


@click.command()
@as_owner
@click.argument("name", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def adopt(chosen: Directories, name: str | None, yes: bool, as_json: bool) -> None:
    """Take over the containers that the haloyd NAME made; without NAME, list them.

    For a server whose data directory was lost: its apps still run, but a new haloyd
    takes them for another one's. Nothing is started, stopped or removed; from its next
    start on haloyd routes them and looks after them. No other haloyd may do the same.
    """
    if not chosen.data.is_dir():
        raise NotFound(f"{chosen.data} does not exist; start haloyd once, it makes it")
    mine = kept_name(chosen.instance, chosen.instance_copy)
    found = ask_engine(lambda engine: _look(engine, chosen, locked=name is not None))
    if name is None:
        _list(found, mine, as_json)
        return
    refuse(found, name, mine)
    names = [one.name for one in found[name]]
    if not yes and name != mine:
        for one in names:
            click.echo(f"  {one}", err=as_json)
        confirm("Take these over? No other haloyd may use them", err=as_json)
    keep_name(chosen.instance, chosen.instance_copy, name)
    tell(
        {"instance": name, "before": mine, "containers": names},
        [
            f"This haloyd is {name} now{f', it was {mine}' if mine else ''}.",
            f"It looks after {len(names)} containers from its next start on.",
        ],
        as_json,
    )


def refuse(found: Made, name: str, mine: str) -> None:
    """@raise HaloyError: nothing was made by C{name}, or something by this haloyd.

    What C{mine} made would be left alone from now on.
    """
    if name not in found:
        known = ", ".join(found) or "none"
        raise NotFound(f"no container was made by haloyd {name} (there is: {known})")
    if mine and mine != name and mine in found:
        names = ", ".join(one.name for one in found[mine])
        raise Conflict(
            f"this haloyd ({mine}) has containers of its own: {names}. Nobody would "
            "look after them; stop and remove them first"
        )


async def _look(engine: Engine, chosen: Directories, locked: bool) -> Made:
    """Return who made what. @raise Conflict: haloyd runs, and must not."""
    if locked:
        use = ExclusiveUse(chosen.lock)
        await use.take()
        await use.give_back()
    return made_by(await engine.containers({MANAGED_BY: None}))


def _list(found: Made, mine: str, as_json: bool) -> None:
    values = [
        {
            "instance": name,
            "this": name == mine,
            "apps": sorted({one.labels.get(APP, "") for one in some}),
            "containers": [one.name for one in some],
        }
        for name, some in found.items()
    ]
    rows = [
        (
            f"{name} (this one)" if name == mine else name,
            str(len(some)),
            ", ".join(sorted({one.labels.get(APP, "") for one in some})),
        )
        for name, some in found.items()
    ]
    value = {"instance": mine, "instances": values}
    if not found:
        tell(value, ["Docker here has no containers of a haloyd."], as_json)
        return
    tell_table(value, ("haloyd", "containers", "apps"), rows, as_json)
