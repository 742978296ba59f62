"""From a kept deployment to a request that brings it back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from haloy.config.app_file import ImageConfig, Target
from haloy.config.images import is_uploaded
from haloy.config.validate import validate_target
from haloy.config.wire import target_from_json, target_to_json, unstructure
from haloy.deploy.interface import RollbackTarget
from haloy.errors import InvalidValue
from haloy.store.deployments import DeploymentRow

#: Keys of a stored configuration that are of the file, not of a target.
_ROOT_ONLY = frozenset(
    {"images", "targets", "secretProviders", "globalPreDeploy", "globalPostDeploy"}
)
#: Their stored form has secrets that only the client can resolve.
_NEVER_INHERITED = frozenset({"env", "apiToken", "image", "imageKey"})


def rollback_entry(row: DeploymentRow) -> RollbackTarget:
    """Return a kept deployment as clients see it: its own image in its config."""
    config = {**row.stored, "image": kept_image(row)}
    return RollbackTarget(row.id, row.image_ref, config)


def kept_image(row: DeploymentRow) -> dict[str, Any]:
    """Return the image entry that runs exactly what C{row} ran.

    With history in a registry that is the tag there, because only the newest image
    is kept here; else the deployment's own tag, without a pull: an image that was
    uploaded is never pulled, for another one that is said.
    """
    stored = row.stored.get("image")
    image = stored if isinstance(stored, Mapping) else {}
    history = image.get("history")
    if is_in_registry(row):
        return {key: value for key, value in image.items() if key != "buildConfig"} | {
            "build": False
        }
    repository, _, tag = row.image_ref.rpartition(":")
    own: dict[str, Any] = {"repository": repository, "tag": tag}
    if _was_uploaded(image):
        return {**image, **own}
    entry = {**own, "pullPolicy": "never", "build": False}
    return entry | ({"history": history} if history else {})


def _was_uploaded(image: Mapping[str, Any]) -> bool:
    try:
        found = target_from_json({"image": dict(image)}).image
    except InvalidValue:  # written by another version
        return False
    return found is not None and is_uploaded(found)


def is_in_registry(row: DeploymentRow) -> bool:
    """Return whether old versions of C{row}'s app are kept in a registry."""
    image = row.stored.get("image")
    history = image.get("history") if isinstance(image, Mapping) else None
    return isinstance(history, Mapping) and history.get("strategy") == "registry"


def target_part(row: DeploymentRow) -> dict[str, Any]:
    """Return the keys of a stored configuration that are of its target."""
    return {key: value for key, value in row.stored.items() if key not in _ROOT_ONLY}


def rollback_target(row: DeploymentRow, config: Target) -> Target:
    """Return C{config} with the image of C{row} and the keys it lacks.

    A client that does not know a key would lose it; literal settings come from the
    stored configuration. The image's login is the client's, who can resolve it.

    @raise InvalidValue: the two together break a rule.
    """
    stored = {
        key: value
        for key, value in target_part(row).items()
        if key not in _NEVER_INHERITED
    }
    given = target_to_json(config)
    image_now = {"image": kept_image(row)}
    try:
        merged = target_from_json({**stored, **given, **image_now})
    except InvalidValue:  # written by another version: what the client says counts
        merged = target_from_json({**given, **image_now})
    login = config.image.registry if config.image is not None else None
    image = merged.image or ImageConfig()
    result = evolve(merged, image=evolve(image, registry=login))
    validate_target(result)
    return result


def shared_rows(
    row: DeploymentRow, image: ImageConfig
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return configuration and image of C{row} as a Go daemon keeps them."""
    kept = evolve(image, repository=row.app, tag=str(row.id), registry=None)
    return row.stored, unstructure(kept, camel=True)
