"""What an uploaded image is put together from: names, digests, the archive. Pure.

An archive is what C{docker load} takes: C{manifest.json}, the configuration, and
the layers under the paths that the manifest names (C{spec/api.md} 4.8 to 4.10).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from haloy.errors import InvalidValue

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LAYER_PATHS = (
    re.compile(r"blobs/sha256/([0-9a-f]{64})(?:/layer\.tar)?"),
    re.compile(r"(?:sha256:)?([0-9a-f]{64})/layer\.tar"),
)
_CONFIG_PATHS = (
    re.compile(r"([0-9a-f]{64})\.json"),
    re.compile(r"blobs/sha256/([0-9a-f]{64})"),
)
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._/:@-]{0,254}")

#: What a file takes in an archive beyond its content.
ENTRY_BYTES = 4096


@frozen
class Assembly:
    """An image to put together.

    C{layers} are (path in the archive, digest) in the order of the image.
    """

    ref: str
    config_path: str
    config: bytes
    layers: tuple[tuple[str, str], ...]

    @property
    def manifest(self) -> bytes:
        """Return C{manifest.json}; the only name in it is the one that was asked for.

        Whatever names the client's manifest has, no other image can be renamed (A11).
        """
        entry = {
            "Config": self.config_path,
            "RepoTags": [self.ref],
            "Layers": [path for path, _ in self.layers],
        }
        return json.dumps([entry]).encode()

    @property
    def diff_ids(self) -> dict[str, str]:
        """Return the uncompressed digest of each layer, by position in the config."""
        try:
            found = json.loads(self.config)["rootfs"]["diff_ids"]
        except (ValueError, KeyError, TypeError):
            return {}
        digests = [digest for _, digest in self.layers]
        return dict(zip(digests, found, strict=False))


def check_digest(text: object, field: str) -> str:
    """Return C{text}: C{sha256:} and 64 hex digits. @raise InvalidValue: it is none."""
    if text is None:
        raise InvalidValue("is missing", field=field)
    if not isinstance(text, str) or DIGEST.fullmatch(text) is None:
        raise InvalidValue(
            f"{text!r} is not a digest: sha256: and 64 lower-case hex digits",
            field=field,
        )
    return text


def check_reference(text: object, field: str = "imageRef") -> str:
    """Return C{text} as an image reference with a tag.

    @raise InvalidValue: it is none.
    """
    if not isinstance(text, str) or _REFERENCE.fullmatch(text) is None:
        raise InvalidValue(f"{text!r} is not an image reference", field=field)
    return text


def make_assembly(ref: str, config: bytes, manifest: Mapping[str, Any]) -> Assembly:
    """Return what to assemble, with every path and digest checked.

    @raise InvalidValue: a path leads elsewhere, or the configuration is another one.
    """
    layers = manifest.get("Layers")
    if not isinstance(layers, list) or not layers:
        raise InvalidValue("at least one layer is needed", field="manifest.Layers")
    config_path = manifest.get("Config")
    if not isinstance(config_path, str):
        raise InvalidValue("must be text", field="manifest.Config")
    wanted = _match(_CONFIG_PATHS, config_path)
    if wanted is None:
        raise InvalidValue(
            f"{config_path!r} is not named by its digest", field="manifest.Config"
        )
    if hashlib.sha256(config).hexdigest() != wanted:
        raise InvalidValue("is not what manifest.Config names", field="config")
    return Assembly(
        ref=check_reference(ref),
        config_path=config_path,
        config=config,
        layers=tuple(
            (_text(path, i), _layer_digest(path, i)) for i, path in enumerate(layers)
        ),
    )


def _layer_digest(path: object, number: int) -> str:
    found = _match(_LAYER_PATHS, _text(path, number))
    if found is None:
        raise InvalidValue(
            f"{path!r} is not named by a digest", field=f"manifest.Layers[{number}]"
        )
    return f"sha256:{found}"


def _text(value: object, number: int) -> str:
    if not isinstance(value, str):
        raise InvalidValue("must be text", field=f"manifest.Layers[{number}]")
    return value


def _match(patterns: tuple[re.Pattern[str], ...], text: str) -> str | None:
    for pattern in patterns:
        match = pattern.fullmatch(text)
        if match is not None:
            return match[1]
    return None
