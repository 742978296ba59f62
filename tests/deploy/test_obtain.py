"""Having the image, or saying why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from haloy.config.app_file import (
    History,
    ImageConfig,
    Registry,
    ValueSource,
)
from haloy.deploy.obtain import obtain_image
from haloy.engine.interface import Credentials, Image
from haloy.engine.stream import pull_error
from haloy.errors import (
    DeployFailed,
    EngineError,
    EngineUnavailable,
    InsufficientStorage,
)
from haloy.model.names import AppName, DeploymentId
from tests.fakes.engine import FakeEngine

SHOP, ONE = AppName("shop"), DeploymentId("01one")
NEWER = Image("sha256:new", digests=("shop@sha256:bb",), architecture="amd64")


def obtain(
    engine: FakeEngine,
    image: ImageConfig,
    stored: Mapping[str, Credentials] | None = None,
) -> tuple[str, str, list[str]]:
    """Return reference, image id and what was said."""
    said: list[str] = []

    def say(message: str, fields: Mapping[str, str], level: str = "INFO") -> None:
        said.append(message)

    done: list[Any] = []
    Deferred.fromCoroutine(
        obtain_image(engine, SHOP, ONE, image, (stored or {}).get, say)
    ).addBoth(done.append)
    (result,) = done
    if not isinstance(result, tuple):
        result.raiseException()
    ref, found = result
    return ref, found.id, said


def test_uploaded_image_stays_what_it_is() -> None:
    """A public image of the app's name is not even asked for (D10)."""
    engine = FakeEngine()
    engine.have_image("shop:latest", "sha256:mine")
    engine.registry["shop:latest"] = NEWER
    ref, identifier, _ = obtain(engine, ImageConfig("shop", build=True))
    assert (ref, identifier) == ("shop:01one", "sha256:mine")
    assert engine.calls == ["tag shop:latest shop:01one"]


def test_always_pulls_what_is_newer() -> None:
    """The registry's digest decides."""
    engine = FakeEngine()
    engine.have_image("shop:latest", "sha256:old", digests=("shop@sha256:aa",))
    engine.registry["shop:latest"] = NEWER
    assert obtain(engine, ImageConfig("shop"))[1] == "sha256:new"


def test_always_keeps_what_is_current() -> None:
    """An equal digest is not pulled again."""
    engine = FakeEngine()
    engine.have_image("shop:latest", "sha256:old", digests=("shop@sha256:bb",))
    engine.registry["shop:latest"] = NEWER
    assert obtain(engine, ImageConfig("shop"))[1] == "sha256:old"


def test_registry_that_does_not_answer() -> None:
    """The image that is here is used, and that is said."""
    engine = FakeEngine()
    engine.have_image("shop:latest", "sha256:old")
    _, identifier, said = obtain(engine, ImageConfig("shop"))
    assert identifier == "sha256:old"
    assert "registry does not say" in said[0]


def test_if_missing() -> None:
    """What is here is used without asking anybody."""
    engine = FakeEngine()
    engine.have_image("shop:latest", "sha256:old")
    image = ImageConfig("shop", pull_policy="if_missing", history=History("none"))
    assert obtain(engine, image)[0] == "shop:latest"
    assert engine.calls == []


@pytest.mark.parametrize(
    "image",
    [ImageConfig("shop", pull_policy="never"), ImageConfig("shop", build=True)],
)
def test_must_be_here(image: ImageConfig) -> None:
    """What is never pulled and not here is told as such."""
    engine = FakeEngine()
    engine.registry["shop:latest"] = NEWER
    with pytest.raises(DeployFailed) as told:
        obtain(engine, image)
    assert told.value.failure == "image-not-found"


def test_not_in_the_registry() -> None:
    """The registry's no names the image."""
    with pytest.raises(DeployFailed, match="shop:latest") as told:
        obtain(FakeEngine(), ImageConfig("shop"))
    assert told.value.failure == "image-not-found"


def test_credentials() -> None:
    """The target's own login comes first, then the daemon's, then none."""
    engine = FakeEngine()
    ref = "r.example.com/shop:1"
    engine.registry[ref] = NEWER
    engine.passwords[ref] = "secret"
    image = ImageConfig("r.example.com/shop", "1")
    with pytest.raises(DeployFailed) as told:
        obtain(engine, image)
    assert told.value.failure == "bad-credentials"
    stored = {"r.example.com": Credentials("r.example.com", "me", "secret")}
    assert obtain(engine, image, stored)[1] == "sha256:new"
    login = Registry(username=ValueSource("me"), password=ValueSource("wrong"))
    engine = FakeEngine(registry=engine.registry, passwords=engine.passwords)
    own = ImageConfig("r.example.com/shop", "1", registry=login)
    with pytest.raises(DeployFailed) as told:
        obtain(engine, own, stored)
    assert told.value.failure == "bad-credentials"


@pytest.mark.parametrize(
    ("problem", "hint"),
    [
        (pull_error("shop:latest", "toomanyrequests: slow down"), "log in"),
        (pull_error("shop:latest", "unexpected EOF"), "unexpected EOF"),
        (EngineError("Docker answered nonsense"), "nonsense"),
    ],
)
def test_pull_that_breaks(problem: EngineError, hint: str) -> None:
    """An error in a pull is told, with the image and what helps, each once (D13)."""
    engine = FakeEngine()
    engine.registry["shop:latest"] = NEWER
    engine.failures["pull"] = problem
    with pytest.raises(DeployFailed, match=hint) as told:
        obtain(engine, ImageConfig("shop"))
    assert told.value.failure == "pull"
    assert [str(told.value).count(one) for one in ("shop:latest", hint)] == [1, 1]


def test_disk_is_full() -> None:
    """A full disk has a code of its own."""
    engine = FakeEngine()
    engine.registry["shop:latest"] = NEWER
    engine.failures["pull"] = InsufficientStorage("insufficient disk space")
    with pytest.raises(InsufficientStorage):
        obtain(engine, ImageConfig("shop"))


def test_docker_is_away() -> None:
    """That is no fault of the image."""
    engine = FakeEngine()
    engine.registry["shop:latest"] = NEWER
    engine.failures["pull"] = EngineUnavailable("away")
    with pytest.raises(EngineUnavailable):
        obtain(engine, ImageConfig("shop"))
    engine = FakeEngine()
    engine.have_image("shop:latest")
    engine.failures["digest"] = EngineUnavailable("away")
    with pytest.raises(EngineUnavailable):
        obtain(engine, ImageConfig("shop"))


def test_another_kind_of_machine() -> None:
    """An image for another architecture is refused before anything runs."""
    engine = FakeEngine()
    engine.have_image("shop:latest", architecture="arm64")
    with pytest.raises(DeployFailed, match="linux/amd64") as told:
        obtain(engine, ImageConfig("shop", pull_policy="never"))
    assert told.value.failure == "platform"
