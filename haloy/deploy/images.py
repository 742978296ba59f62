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


def kept_count(image: ImageConfig) -> int:
    """Return how many deployments stay, the live one included."""
    history = image.history
    if history is None or history.strategy in (None, "local"):
        return 6 if history is None or history.count is None else history.count
    return 1


def tags_to_remove(
    app: AppName,
    images: Iterable[Image],
    finished: Collection[DeploymentId],
    keep: Collection[DeploymentId],
    used: Collection[str],
) -> tuple[str, ...]:
    """Return the deployment tags of C{app} that may go.

    Only tags of deployments in C{finished}, which are ours, are candidates: a
    person's own C{myapp:v2} is left alone. One whose image runs stays.

    @param used: ids of images that containers use.
    """
    going = []
    for image in images:
        if image.id in used:
            continue
        for ref in image.tags:
            repository, _, tag = ref.rpartition(":")
            ours = repository == app and tag in finished
            if ours and tag not in keep:
                going.append(ref)
    return tuple(going)
