"""What C{deploy.assembly} takes, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from haloy.deploy.assembly import check_digest, check_reference, make_assembly
from haloy.errors import InvalidValue

CONFIG = json.dumps({"rootfs": {"diff_ids": ["sha256:d1", "sha256:d2"]}}).encode()
NAME = hashlib.sha256(CONFIG).hexdigest()
A, B = "a" * 64, "b" * 64


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "Config": f"blobs/sha256/{NAME}",
        "RepoTags": ["other:evil"],
        "Layers": [f"blobs/sha256/{A}", f"{B}/layer.tar"],
    } | changes


def test_layers_by_every_path_form() -> None:
    """All four forms of `spec/api.md` 4.10 lead to their digest."""
    forms = [
        f"blobs/sha256/{A}",
        f"blobs/sha256/{A}/layer.tar",
        f"sha256:{A}/layer.tar",
        f"{A}/layer.tar",
    ]
    found = make_assembly("shop:1", CONFIG, manifest(Layers=forms))
    assert [digest for _, digest in found.layers] == [f"sha256:{A}"] * 4


def test_only_the_name_that_was_asked_for() -> None:
    """A11: the client's RepoTags cannot rename another app's image."""
    found = make_assembly("shop:1", CONFIG, manifest())
    (entry,) = json.loads(found.manifest)
    assert entry["RepoTags"] == ["shop:1"]
    assert entry["Layers"] == manifest()["Layers"]


def test_uncompressed_digests_by_position() -> None:
    """Pruning knows later which layers an image is made of."""
    found = make_assembly("shop:1", CONFIG, manifest())
    assert found.diff_ids == {f"sha256:{A}": "sha256:d1", f"sha256:{B}": "sha256:d2"}
    odd = b"[]"
    path = f"{hashlib.sha256(odd).hexdigest()}.json"
    assert make_assembly("shop:1", odd, manifest(Config=path)).diff_ids == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"Layers": []}, "manifest.Layers"),
        ({"Layers": None}, "manifest.Layers"),
        ({"Layers": [5]}, "manifest.Layers[0]"),
        ({"Layers": [f"blobs/sha256/{A}", "../../etc/passwd"]}, "manifest.Layers[1]"),
        ({"Layers": [f"/{A}/layer.tar"]}, "manifest.Layers[0]"),
        ({"Config": None}, "manifest.Config"),
        ({"Config": "../config.json"}, "manifest.Config"),
        ({"Config": f"{A}.json"}, "config"),
    ],
)
def test_odd_manifests(changes: dict[str, Any], field: str) -> None:
    """A11: a path that leads elsewhere, or a configuration that is another one."""
    with pytest.raises(InvalidValue) as caught:
        make_assembly("shop:1", CONFIG, manifest(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize("text", [None, "", "Shop:1", "a b", "-x", 5])
def test_odd_references(text: object) -> None:
    """What Docker would refuse is refused with the field's name."""
    with pytest.raises(InvalidValue, match="imageRef"):
        check_reference(text)


@pytest.mark.parametrize("text", [None, "sha256:", "sha256:" + "A" * 64, "md5:1", 5])
def test_odd_digests(text: object) -> None:
    """A digest becomes a path, so nothing else passes."""
    with pytest.raises(InvalidValue, match="digest"):
        check_digest(text, "digest")
    assert check_digest(f"sha256:{A}", "digest") == f"sha256:{A}"
