"""Sends images to servers: only the layers that each of them lacks."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from haloy.api.sections import Section
from haloy.cli.archive import SavedImage, SavedLayer, read_archive
from haloy.cli.output import Output
from haloy.cli.transfer import Transfer, readable
from haloy.errors import HaloyError, InsufficientStorage, ServerUnreachable

PARALLEL_LAYERS = 4
#: What is waited before a layer is sent again; as many times as there are waits.
RETRY_WAITS_S = (2.0, 4.0)


@frozen
class Destination:
    """A server that gets an image: its client, its name, what its daemon can."""

    client: Any
    server: str
    capabilities: frozenset[str]


async def upload(
    reactor: Any, ref: str, destinations: list[Destination], output: Output
) -> dict[str, HaloyError]:
    """Send the image C{ref} of the local Docker to all C{destinations} at once.

    @return: what went wrong, by server.
    @raise HaloyError: the image cannot be read here.
    """
    with tempfile.TemporaryDirectory(prefix="haloy-upload-") as folder:
        path = Path(folder) / "image.tar"
        save(ref, path)
        return await send(reactor, ref, path, destinations, output)


async def send(
    reactor: Any,
    ref: str,
    archive: Path,
    destinations: list[Destination],
    output: Output,
) -> dict[str, HaloyError]:
    """Send the image in C{archive}; see L{upload}."""
    image = read_archive(archive)
    with archive.open("rb") as file, closing(Transfer(output)) as transfer:
        sending = [
            Deferred.fromCoroutine(
                _Sending(reactor, ref, image, file, one, transfer, output).send()
            )
            for one in destinations
        ]
        results: list[tuple[bool, Any]] = await DeferredList(
            sending, consumeErrors=True
        )
    problems = {}
    for one, (ok, result) in zip(destinations, results, strict=True):
        if not ok:
            problems[one.server] = _problem(result)
    return problems


def _problem(failure: Failure) -> HaloyError:
    if isinstance(failure.value, HaloyError):
        return failure.value
    failure.raiseException()
    raise AssertionError("raiseException raises")


def save(ref: str, path: Path) -> None:
    """Write the image C{ref} to C{path}. @raise HaloyError: docker cannot."""
    done = subprocess.run(
        ["docker", "save", "-o", str(path), ref],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip()
        raise HaloyError(f"docker save {ref} failed: {said}")


@define(eq=False)
class _Sending:
    """One image on its way to one server."""

    _reactor: Any
    _ref: str
    _image: SavedImage
    _file: Any
    _to: Destination
    _transfer: Transfer
    _output: Output

    async def send(self) -> None:
        if "layer-upload" in self._to.capabilities:
            await self._send_layers()
        else:
            await self._send_whole()

    async def _send_layers(self) -> None:
        layers = self._image.distinct
        missing = await self._to.client.missing_layers(list(layers))
        wanted = [layers[digest] for digest in missing]
        size = sum(one.size for one in wanted)
        sizes = {"assembledImageSizeBytes": self._image.assembled_bytes(self._ref)}
        if size:
            sizes["layerUploadBytes"] = size
        await self._check_room(sizes)
        here = f"{len(layers) - len(wanted)} of {len(layers)} layers are there"
        if not wanted:
            self._output.info(f"{self._ref}: {here}", self._to.server)
        else:
            self._output.info(
                f"Sending {self._ref}: {readable(size)}, {here}",
                self._to.server,
            )
            await self._send_all(wanted, self._transfer.begin(self._to.server, size))
        manifest = self._image.manifest(self._ref)
        await self._to.client.assemble(self._ref, self._image.config, manifest)

    async def _send_all(
        self, layers: list[SavedLayer], moved: Callable[[int], None]
    ) -> None:
        gate = DeferredSemaphore(PARALLEL_LAYERS)
        sending = [gate.run(self._begin, one, moved) for one in layers]
        try:
            for one in sending:
                await one
        finally:
            for one in sending:
                one.addErrback(lambda _: None)
                one.cancel()

    def _begin(self, layer: SavedLayer, moved: Callable[[int], None]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._send_layer(layer, moved))

    async def _send_layer(
        self, layer: SavedLayer, moved: Callable[[int], None]
    ) -> None:
        """Send one layer; a connection that broke off gets another chance."""
        section = Section(self._file, layer.offset, layer.size)
        for wait_s in (*RETRY_WAITS_S, None):
            counted = 0

            def count(size: int) -> None:
                nonlocal counted
                counted += size
                moved(size)

            try:
                await self._to.client.send_layer(layer.digest, section, count)
            except ServerUnreachable:
                moved(-counted)
                if wait_s is None:
                    raise
                await deferLater(self._reactor, wait_s)
            else:
                return

    async def _send_whole(self) -> None:
        """Send the archive as it is, to a daemon that takes no layers."""
        self._file.seek(0, 2)
        size = self._file.tell()
        await self._check_room({"uploadSizeBytes": size})
        self._output.info(f"Sending {self._ref}: {readable(size)}", self._to.server)
        moved = self._transfer.begin(self._to.server, size)
        await self._to.client.send_archive(Section(self._file, 0, size), moved)

    async def _check_room(self, sizes: dict[str, int]) -> None:
        if "image-disk-preflight" not in self._to.capabilities:
            return
        found = await self._to.client.disk_space(sizes)
        if not found.get("ok"):
            raise InsufficientStorage(
                f"insufficient disk space on {self._to.server}: {self._ref} needs "
                f"{readable(found.get('requiredBytes') or 0)} at {found.get('path')}, "
                f"{readable(found.get('availableBytes') or 0)} are free; remove old "
                "images there, or keep fewer (image.history.count)"
            )
