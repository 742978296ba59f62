from __future__ import annotations

import pytest

from haloy.config.app_file import BuildConfig, ImageConfig, Registry
from haloy.config.images import (
    effective_push,
    image_ref,
    is_reference,
    is_uploaded,
    normalise_registry,
    registry_server,
    should_build,
)


@pytest.mark.parametrize(
    ("repository", "tag", "ref"),
    [
        ("nginx", None, "nginx:latest"),
        ("nginx", "1", "nginx:1"),
        ("nginx:1", None, "nginx:1"),
        ("nginx:1", "2", "nginx:2"),
        ("host:5000/app", None, "host:5000/app:latest"),
        ("host:5000/app:1", "2", "host:5000/app:2"),
        ("a@sha256:" + "0" * 64, None, "a@sha256:" + "0" * 64),
    ],
)
def test_references(repository: str, tag: str | None, ref: str) -> None:
    """A registry's port is no tag, and there is never a second tag."""
    assert image_ref(ImageConfig(repository, tag)) == ref


@pytest.mark.parametrize(
    "ref",
    ["a", "a:1", "a/b:v1.2", "ghcr.io/a/b", "h:5000/a:x", "a@sha256:" + "0" * 64],
)
def test_what_engines_take(ref: str) -> None:
    """host[:port]/path[:tag][@digest]."""
    assert is_reference(ref)


@pytest.mark.parametrize(
    "ref",
    ["", "A", "a:b:c", "a:", "/a", "a//b", "a:-x", "http://a", "a\n", "a:" + "x" * 129],
)
def test_what_engines_refuse(ref: str) -> None:
    """Upper case, two tags, empty parts."""
    assert not is_reference(ref)


def test_when_an_image_is_built() -> None:
    """build: false wins over build_config."""
    assert not should_build(ImageConfig())
    assert should_build(ImageConfig(build=True))
    assert should_build(ImageConfig(build_config=BuildConfig()))
    assert not should_build(ImageConfig(build=False, build_config=BuildConfig()))


def test_where_a_built_image_goes() -> None:
    """To the server, unless it is pushed to a registry or one is named."""
    assert effective_push(ImageConfig(build=True)) == "server"
    assert effective_push(ImageConfig(registry=Registry())) == "registry"
    image = ImageConfig(registry=Registry(), build_config=BuildConfig(push="server"))
    assert effective_push(image) == "server"


@pytest.mark.parametrize(
    ("image", "uploaded"),
    [
        (ImageConfig("a", build=True), True),
        (ImageConfig("a", build_config=BuildConfig()), True),
        (ImageConfig("a", build=False, build_config=BuildConfig(push="server")), True),
        (ImageConfig("a", build=True, registry=Registry()), False),
        (ImageConfig("a"), False),
    ],
)
def test_uploaded_images(image: ImageConfig, uploaded: bool) -> None:
    """D10: a default build counts as uploaded although push is not said."""
    assert is_uploaded(image) is uploaded


@pytest.mark.parametrize(
    ("repository", "server"),
    [
        ("nginx", "docker.io"),
        ("a/b", "docker.io"),
        ("ghcr.io/a/b", "ghcr.io"),
        ("host:5000/a", "host:5000"),
        ("localhost/a", "localhost"),
        ("index.docker.io/a/b", "docker.io"),
    ],
)
def test_registry_of_a_repository(repository: str, server: str) -> None:
    """The part before the first slash, where it looks like a host."""
    assert registry_server(repository) == server


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" HTTPS://Ghcr.io/ ", "ghcr.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("http://h:5000/v1", "h:5000"),
    ],
)
def test_names_of_registries(text: str, name: str) -> None:
    """Scheme, case and /v1 do not make two registries of one."""
    assert normalise_registry(text) == name
