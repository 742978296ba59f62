"""What is read of C{docker save}: both layouts, and a real one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from haloy.cli.archive import ENTRY_BYTES, read_archive
from haloy.cli.upload import save
from haloy.errors import HaloyError
from tests.support.docker import build_image, cleaned, require_docker, unique

CONFIG = b'{"rootfs": {}}'
LOWER, UPPER = b"lower layer", b"upper layer"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: Path, config: str, layers: dict[str, bytes], **links: str) -> None:
    """Write an archive with its layers at these paths."""
    names = [*layers, *links]
    manifest = [{"Config": config, "RepoTags": ["x:1"], "Layers": names}]
    files = {config: CONFIG, **layers, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)


@pytest.mark.parametrize("pattern", ["{}/layer.tar", "blobs/sha256/{}"])
def test_layers_are_named_by_their_bytes(tmp_path: Path, pattern: str) -> None:
    """Not by their paths, which name something else before Docker 25 (CLI 4.5)."""
    path = tmp_path / "image.tar"
    layers = {pattern.format("1" * 64): LOWER, pattern.format("2" * 64): UPPER}
    write(path, f"{'c' * 64}.json", layers)
    image = read_archive(path)
    assert [one.digest for one in image.layers] == [
        f"sha256:{sha256(LOWER)}",
        f"sha256:{sha256(UPPER)}",
    ]
    assert [
        path.read_bytes()[one.offset : one.offset + one.size] for one in image.layers
    ] == [LOWER, UPPER]
    assert image.manifest("shop:7") == {
        "Config": f"blobs/sha256/{sha256(CONFIG)}",
        "RepoTags": ["shop:7"],
        "Layers": [f"blobs/sha256/{sha256(one)}" for one in (LOWER, UPPER)],
    }
    manifest = json.dumps([image.manifest("shop:7")])
    size = len(CONFIG) + len(manifest) + len(LOWER) + len(UPPER) + 2 * ENTRY_BYTES
    assert image.assembled_bytes("shop:7") == size


def test_linked_layers(tmp_path: Path) -> None:
    """Equal layers are links in the old layout; each is sent once."""
    path = tmp_path / "image.tar"
    links = {"b/layer.tar": "../a/layer.tar"}
    write(path, "c.json", {"a/layer.tar": LOWER}, **links)
    image = read_archive(path)
    assert [one.digest for one in image.layers] == [f"sha256:{sha256(LOWER)}"] * 2
    assert len(image.distinct) == 1


@pytest.mark.parametrize("data", [b"", b"no tar", b"\0" * 10240])
def test_not_an_archive(tmp_path: Path, data: bytes) -> None:
    """It is said what cannot be read."""
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    with pytest.raises(HaloyError, match="`docker save`"):
        read_archive(path)


def test_a_folder_is_no_layer(tmp_path: Path) -> None:
    """An archive whose layer is no file is refused."""
    path = tmp_path / "image.tar"
    write(path, "c.json", {})
    manifest = json.dumps([{"Config": "c.json", "Layers": ["d"]}]).encode()
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in (("c.json", CONFIG), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(HaloyError, match="d is not a file"):
        read_archive(path)


@pytest.mark.docker
def test_a_real_one(tmp_path: Path) -> None:
    """The digests are those of the image's own configuration."""
    require_docker()
    ref = unique("archive")
    with cleaned(ref):
        build_image(ref, tmp_path / "context", "true")
        save(ref, tmp_path / "image.tar")
    image = read_archive(tmp_path / "image.tar")
    wanted = json.loads(image.config)["rootfs"]["diff_ids"]
    assert [one.digest for one in image.layers] == wanted


@pytest.mark.docker
def test_an_image_that_is_not_here(tmp_path: Path) -> None:
    """Docker's reason is told."""
    require_docker()
    with pytest.raises(HaloyError, match=r"docker save .* failed: .+"):
        save("haloytest-nothing:1", tmp_path / "image.tar")
