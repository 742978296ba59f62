"""Images that come from clients: layers kept by digest, archives loaded into Docker.

A layer is written once and named by the digest of its bytes; nothing is unpacked
here, tars go to Docker as they are.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from haloy.config.private import make_directory
from haloy.deploy.assembly import ENTRY_BYTES, Assembly
from haloy.deploy.space import Room, Space
from haloy.engine.interface import Engine
from haloy.errors import InsufficientStorage, InvalidValue, NotFound
from haloy.store.database import Database
from haloy.store.layers import put_layer, set_diff_ids, touch_layers

_NO_SPACE = 28


@define(eq=False)
class ImageUploads:
    """The layer cache, and the way from layers to an image."""

    _engine: Engine
    _database: Database
    _reactor: Any
    _pool: ThreadPool
    _now: Callable[[], datetime]
    space: Space
    layers: Path
    temporary: Path

    # --- layers --------------------------------------------------------------------

    async def present(self, digests: list[str]) -> list[bool]:
        """Return which layers are here, by their files; they count as used."""
        found = [self._path(digest).is_file() for digest in digests]
        used = [one for one, here in zip(digests, found, strict=True) if here]
        await self._database.run(touch_layers, used, self._now())
        return found

    async def keep(self, digest: str, size: int, found: str, spooled: Path) -> None:
        """Take a spooled body as the layer C{digest}.

        @param found: the digest that its bytes really have.
        @raise InvalidValue: that is another one; nothing is left behind (A17).
        """
        if found != digest:
            raise InvalidValue(
                f"layer digest mismatch: expected {digest}, got {found}",
                field="X-Layer-Digest",
            )
        # First: a file without a row would never grow old, a row without its file does.
        await self._database.run(put_layer, digest, size, self._now())
        await self._in_thread(_place, spooled, self._path(digest))

    def _path(self, digest: str) -> Path:
        return self.layers / digest.removeprefix("sha256:") / "layer.tar"

    # --- images --------------------------------------------------------------------

    async def assemble(self, assembly: Assembly) -> None:
        """Put an image together and load it into Docker.

        @raise NotFound: a layer is not here.
        @raise InsufficientStorage: there is no room for the archive.
        """
        paths = {digest: self._path(digest) for _, digest in assembly.layers}
        missing = [digest for digest, path in paths.items() if not path.is_file()]
        if missing:
            raise NotFound(f"layers are missing: {', '.join(missing)}; upload them")
        size = (
            len(assembly.config)
            + len(assembly.manifest)
            + sum(
                paths[digest].stat().st_size + ENTRY_BYTES
                for _, digest in assembly.layers
            )
        )
        make_directory(self.temporary)
        with self.space.promise(self.temporary, size):
            archive = await self._in_thread(self._write, assembly, paths)
            try:
                await self._engine.load(archive)
            finally:
                archive.unlink(missing_ok=True)
        await self._database.run(touch_layers, list(paths), self._now())
        await self._database.run(set_diff_ids, assembly.diff_ids)

    async def load(self, archive: Path, offset: int) -> tuple[str, ...]:
        """Load a whole archive that begins at C{offset}; return its names."""
        return await self._engine.load(archive, offset)

    def _write(self, assembly: Assembly, paths: dict[str, Path]) -> Path:
        descriptor, name = tempfile.mkstemp(
            prefix="haloy-assembled-", suffix=".tar", dir=self.temporary
        )
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                tarfile.open(fileobj=file, mode="w") as archive,
            ):
                _add(archive, "manifest.json", assembly.manifest)
                _add(archive, assembly.config_path, assembly.config)
                written = set()
                for path, digest in assembly.layers:
                    if path in written:
                        continue
                    written.add(path)
                    folder, _, leaf = path.rpartition("/")
                    if leaf == "layer.tar" and not path.startswith("blobs/"):
                        # The old layout, which old engines read, wants these beside.
                        _add(archive, f"{folder}/VERSION", b"1.0")
                        _add(
                            archive, f"{folder}/json", b'{"id":"%s"}' % folder.encode()
                        )
                    info = tarfile.TarInfo(path)
                    info.size = paths[digest].stat().st_size
                    info.mode = 0o644
                    with paths[digest].open("rb") as layer:
                        archive.addfile(info, layer)
        except OSError as problem:
            Path(name).unlink(missing_ok=True)
            if problem.errno == _NO_SPACE:
                raise InsufficientStorage(
                    "insufficient disk space on the server to assemble the image"
                ) from problem
            raise
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    # --- space ----------------------------------------------------------------------

    async def room(self, layer_bytes: int, archive_bytes: int) -> Room:
        """Return how much room there is for an upload of so many bytes.

        @param layer_bytes: of layers that are not here yet.
        @param archive_bytes: of the whole archive, which Docker then holds too.
        """
        info = await self._engine.info()
        wanted = [
            (self.temporary, archive_bytes),
            (Path(info.root_dir or "/"), archive_bytes),
        ]
        if layer_bytes:
            wanted.insert(0, (self.layers, layer_bytes))
        return self.space.room(wanted)

    async def _in_thread(self, work: Callable[..., Path], *args: object) -> Path:
        running: Deferred[Path] = deferToThreadPool(
            self._reactor, self._pool, work, *args
        )
        return await running


def _place(spooled: Path, path: Path) -> Path:
    make_directory(path.parent)
    spooled.chmod(0o600)
    return spooled.replace(path)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(content))
