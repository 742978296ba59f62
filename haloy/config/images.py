"""What an image entry means: reference, registry, and whether we build it.

Rules: C{spec/config.md} 3.3 and C{spec/labels.md} 4.3.
"""

from __future__ import annotations

import re

from haloy.config.app_file import ImageConfig

#: Reference grammar of the distribution project: host[:port]/path[:tag][@digest].
#: The first part is a host where it has a dot or a port, or is localhost.
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
#: https://docs.docker.com/reference/cli/docker/image/tag/
TAG = r"[\w][\w.-]{0,127}"
_REFERENCE = re.compile(
    rf"(?:(?=localhost[:/]|[^/]*[.:]){_HOST}(?:\.{_HOST})*(?::[0-9]{{1,5}})?/)?{_PATH}(?:/{_PATH})*"
    rf"(?::{TAG})?(?:@[a-z0-9]+:[0-9a-f]{{32,128}})?",
    re.ASCII,
)

_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


def image_ref(image: ImageConfig) -> str:
    """Return C{repository:tag}; a tag inside the repository counts, a port does not.

    A C{tag} of its own replaces the one in the repository. A digest stands for
    itself.
    """
    repository = image.repository or ""
    if "@" in repository:
        return repository
    name = repository.rpartition("/")[2]
    if ":" in name:
        return (
            repository
            if image.tag is None
            else f"{_without_tag(repository)}:{image.tag}"
        )
    return f"{repository}:{image.tag or 'latest'}"


def is_reference(text: str) -> bool:
    """Return whether an engine can take C{text} as the reference of an image."""
    return _REFERENCE.fullmatch(text) is not None


def _without_tag(repository: str) -> str:
    head, slash, name = repository.rpartition("/")
    return head + slash + name.partition(":")[0]


def should_build(image: ImageConfig) -> bool:
    """Return whether the image is built here: C{build: false} wins."""
    if image.build is not None:
        return image.build
    return image.build_config is not None


def effective_push(image: ImageConfig) -> str:
    """Return C{server} or C{registry}: where a built image goes."""
    if image.build_config is not None and image.build_config.push:
        return image.build_config.push
    return "registry" if image.registry is not None else "server"


def is_uploaded(image: ImageConfig) -> bool:
    """Return whether the image comes from the client, so that no registry has it.

    Such an image is never replaced by a public one of the same name (D10).
    """
    push = image.build_config.push if image.build_config is not None else None
    return push == "server" or (
        should_build(image) and effective_push(image) == "server"
    )


def registry_server(repository: str) -> str:
    """Return the host of the registry, C{docker.io} for Docker Hub."""
    head = repository.partition("/")[0] if "/" in repository else ""
    server = head if "." in head or ":" in head or head == "localhost" else "docker.io"
    return normalise_registry(server)


def normalise_registry(server: str) -> str:
    """Return a registry's name as it is stored: lower case, no scheme, no C{/v1}."""
    name = server.strip().lower()
    for scheme in ("https://", "http://"):
        name = name.removeprefix(scheme)
    name = name.rstrip("/").removesuffix("/v1").rstrip("/")
    return "docker.io" if name in _HUB_NAMES else name
