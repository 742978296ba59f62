"""Which image runs, where it comes from, and which old ones may go. Pure.

Rules: C{spec/labels.md} section 4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum

from haloy.config.app_file import ImageConfig
from haloy.config.images import image_ref, is_uploaded
from haloy.engine.interface import Image
from haloy.model.names import AppName, DeploymentId

DEFAULT_KEPT = 6


class Source(Enum):
    """What to do to have an image."""

    LOCAL = "local"  # it must be here already
    USE_OR_PULL = "use-or-pull"
    ASK_REGISTRY = "ask-registry"  # pull when the registry has another one


def source_of(image: ImageConfig) -> Source:
    """Return where C{image} comes from.

    An uploaded image is never looked up in a registry, whatever the pull policy
    (D10): an app may be named like a public image.
    """
    if is_uploaded(image) or image.pull_policy == "never":
        return Source.LOCAL
    if image.pull_policy == "if_missing":
        return Source.USE_OR_PULL
    return Source.ASK_REGISTRY


def keeps_history(image: ImageConfig) -> bool:
    """Return whether deployments get a tag of their own."""
    return image.history is None or image.history.strategy != "none"


def deployment_tag(app: AppName, deployment: DeploymentId) -> str:
    """Return the name by which a deployment's image is kept."""
    return f"{app}:{deployment}"


def run_ref(app: AppName, deployment: DeploymentId, image: ImageConfig) -> str:
    """Return the reference that containers of a deployment are created from."""
    return deployment_tag(app, deployment) if keeps_history(image) else image_ref(image)


def kept_deployments(image: ImageConfig) -> int:
    """Return how many deployments are remembered, the live one included."""
    history = image.history
    if history is None or history.count is None:
        return DEFAULT_KEPT if keeps_history(image) else 1
    return max(history.count, 1)


def kept_tags(image: ImageConfig) -> int:
    """Return how many images stay here; of those in a registry only the live one."""
    registry = image.history is not None and image.history.strategy == "registry"
    return 1 if registry else kept_deployments(image)


def tags_to_remove(
    app: AppName,
    images: Iterable[Image],
    going: Collection[str],
    used: Collection[str],
) -> tuple[str, ...]:
    """Return the deployment tags of C{app} that may go.

    Only tags of the deployments C{going}, which are ours, are candidates: a
    person's own C{myapp:v2} is left alone. One whose image runs stays, unless the
    image is here under another name too.

    @param used: ids of images that containers use.
    """
    candidates = {deployment_tag(app, DeploymentId(one)) for one in going}
    removed: list[str] = []
    for image in images:
        mine = [ref for ref in image.tags if ref in candidates]
        if image.id in used and len(mine) == len(image.tags):
            mine = mine[1:]
        removed += mine
    return tuple(removed)
