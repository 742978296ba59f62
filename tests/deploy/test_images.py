"""Which image, from where, and which old ones go."""

from __future__ import annotations

import pytest

from haloy.config.app_file import BuildConfig, History, ImageConfig
from haloy.deploy.images import (
    Source,
    keeps_history,
    kept_deployments,
    kept_tags,
    run_ref,
    source_of,
    tags_to_remove,
)
from haloy.engine.interface import Image
from haloy.model.names import AppName, DeploymentId

SHOP, ONE = AppName("shop"), DeploymentId("01one")
LOCAL = History(strategy="local", count=3)
REGISTRY = History(strategy="registry", count=4, pattern="v*")
NONE = History(strategy="none")


@pytest.mark.parametrize(
    ("image", "source"),
    [
        (ImageConfig("a"), Source.ASK_REGISTRY),
        (ImageConfig("a", pull_policy="always"), Source.ASK_REGISTRY),
        (ImageConfig("a", pull_policy="if_missing"), Source.USE_OR_PULL),
        (ImageConfig("a", pull_policy="never"), Source.LOCAL),
        (ImageConfig("a", build=True), Source.LOCAL),
        (ImageConfig("a", build=True, pull_policy="always"), Source.LOCAL),
        (ImageConfig("a", build_config=BuildConfig(push="server")), Source.LOCAL),
        (
            ImageConfig("a", build_config=BuildConfig(push="registry")),
            Source.ASK_REGISTRY,
        ),
    ],
)
def test_source(image: ImageConfig, source: Source) -> None:
    """What was built and uploaded is never looked up in a registry (D10)."""
    assert source_of(image) is source


@pytest.mark.parametrize(
    ("history", "keeps", "deployments", "tags"),
    [
        (None, True, 6, 6),
        (LOCAL, True, 3, 3),
        (REGISTRY, True, 4, 1),
        (NONE, False, 1, 1),
        (History(strategy="local"), True, 6, 6),
        (History(strategy="local", count=0), True, 1, 1),
    ],
)
def test_history(
    history: History | None, keeps: bool, deployments: int, tags: int
) -> None:
    """With history in a registry only the newest image stays here."""
    image = ImageConfig("repo", history=history)
    assert keeps_history(image) is keeps
    assert (kept_deployments(image), kept_tags(image)) == (deployments, tags)


def test_run_ref() -> None:
    """Containers run the deployment's own tag, without history the image as it is."""
    assert run_ref(SHOP, ONE, ImageConfig("repo", history=LOCAL)) == "shop:01one"
    assert run_ref(SHOP, ONE, ImageConfig("repo", history=NONE)) == "repo:latest"


def test_only_our_tags_go() -> None:
    """A person's own tag and other repositories are left alone (D22)."""
    images = [
        Image("1", tags=("shop:v2", "shop:01old")),
        Image("2", tags=("shop:01keep", "blog:01old")),
        Image("3", tags=("shop:latest",)),
    ]
    assert tags_to_remove(SHOP, images, {"01old"}, set()) == ("shop:01old",)


def test_image_in_use() -> None:
    """The last name of an image that runs stays; a second name may go."""
    only = [Image("1", tags=("shop:01old",))]
    two = [Image("1", tags=("shop:01old", "shop:01new"))]
    both = [Image("1", tags=("shop:01a", "shop:01b"))]
    assert tags_to_remove(SHOP, only, {"01old"}, {"1"}) == ()
    assert tags_to_remove(SHOP, two, {"01old"}, {"1"}) == ("shop:01old",)
    assert tags_to_remove(SHOP, both, {"01a", "01b"}, {"1"}) == ("shop:01b",)
