"""Which haloyd made a container: several on one Docker leave each other's alone. Pure.

One that has lost its data directory has lost its own name with it, and takes all that
runs for another's. Whose it is, only a person can say (C{haloyd adopt}).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from haloy.engine.interface import Container
from haloy.model.labels import INSTANCE, MANAGED_BY


def made_by(containers: Iterable[Container]) -> Mapping[str, tuple[Container, ...]]:
    """Return the containers that haloyds made, by the name of the haloyd."""
    found: dict[str, list[Container]] = {}
    for one in containers:
        name = one.labels.get(INSTANCE, "")
        if name and one.labels.get(MANAGED_BY):
            found.setdefault(name, []).append(one)
    return {name: tuple(found[name]) for name in sorted(found)}


def only_others(containers: Iterable[Container], instance: str) -> str:
    """Return what to say when other haloyds made containers, and this one none."""
    found = made_by(containers)
    if not instance or not found or instance in found:
        return ""
    count = sum(len(some) for some in found.values())
    names = ", ".join(found)
    return (
        f"{count} containers on this Docker were made by another haloyd ({names}), "
        f"none by this one ({instance}): they are neither routed nor touched. If they "
        "are this server's, whose data directory was lost, stop haloyd and run "
        f"`haloyd adopt {next(iter(found))}`"
    )
