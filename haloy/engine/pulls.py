"""How far a pull is, and what it takes on the disk yet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import frozen


@frozen
class Arriving:
    """A layer on its way, in bytes as they come over the network."""

    done: int
    total: int


@frozen
class PullProgress:
    """One step of a pull, for a person: layers done and bytes over all layers.

    @ivar arriving: the layers that arrive now, by Docker's name for them; two pulls
        may wait for the same one.
    """

    status: str
    layers_done: int
    layers_total: int
    bytes_done: int
    bytes_total: int
    arriving: Mapping[str, Arriving]

    @property
    def bytes_needed(self) -> int:
        """What the layers that arrive take on the disk yet, at least."""
        return needed_bytes(self.arriving.values())


def needed_bytes(arriving: Collection[Arriving]) -> int:
    """Return how many bytes layers take on the disk from now on, at least.

    Unpacked, a layer is no smaller than it is on its way, and what has arrived of it
    goes only after that: all that is missing and the largest once more. Where
    Docker puts what arrives on another disk (C{DOCKER_TMPDIR}), it is their sizes.
    Layers that come later are not known by then.
    """
    if not arriving:
        return 0
    sizes = [one.total for one in arriving]
    missing = sum(max(one.total - one.done, 0) for one in arriving)
    return min(sum(sizes), missing + max(sizes))
