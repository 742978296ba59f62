"""What is in a C{docker save} archive, of Docker before 25 and since.

Layers are named by the digest of their bytes, found by reading them: the paths of the
old layout name something else.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from haloy.errors import HaloyError

_PIECE_BYTES = 1 << 20
#: What an archive needs for a file beside its content, as haloyd counts it.
ENTRY_BYTES = 4096


@frozen
class SavedLayer:
    """C{size} bytes at C{offset} of the archive, with their digest (C{sha256:…})."""

    digest: str
    offset: int
    size: int


@frozen
class SavedImage:
    """One image in an archive; layers in its order, the lowest first."""

    config: bytes
    layers: tuple[SavedLayer, ...]

    @property
    def distinct(self) -> dict[str, SavedLayer]:
        """The layers by digest, each once."""
        return {one.digest: one for one in self.layers}

    def manifest(self, ref: str) -> dict[str, Any]:
        """Return the manifest by which haloyd puts the image together."""
        digest = hashlib.sha256(self.config).hexdigest()
        return {
            "Config": f"blobs/sha256/{digest}",
            "RepoTags": [ref],
            "Layers": [_path(one.digest) for one in self.layers],
        }

    def assembled_bytes(self, ref: str) -> int:
        """Return the size of the archive that haloyd will write."""
        manifest = json.dumps([self.manifest(ref)])
        layers = sum(one.size + ENTRY_BYTES for one in self.layers)
        return len(self.config) + len(manifest) + layers


def read_archive(path: Path) -> SavedImage:
    """Return the image in the archive at C{path}.

    @raise HaloyError: it is not what C{docker save} writes.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            manifest = json.loads(_content(archive, "manifest.json"))[0]
            config = _content(archive, manifest["Config"])
            layers = [_layer(archive, name) for name in manifest["Layers"]]
    except (tarfile.TarError, ValueError, LookupError, TypeError) as problem:
        raise HaloyError(
            f"what `docker save` wrote cannot be read: {problem}"
        ) from problem
    return SavedImage(config, tuple(layers))


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    return _open(archive, name).read()


def _layer(archive: tarfile.TarFile, name: str) -> SavedLayer:
    file = _open(archive, name)
    found = hashlib.sha256()
    size = 0
    while piece := file.read(_PIECE_BYTES):
        found.update(piece)
        size += len(piece)
    member = _resolved(archive, name)
    return SavedLayer(f"sha256:{found.hexdigest()}", member.offset_data, size)


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(_resolved(archive, name))
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file


def _resolved(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    """Return the file called C{name}; the old layout links equal layers together."""
    member = archive.getmember(name)
    if member.issym():
        parts: list[str] = name.split("/")[:-1]
        for part in member.linkname.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part]
        member = archive.getmember("/".join(parts))
    return member
