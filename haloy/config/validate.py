"""Is a merged target right? The client asks before it builds, the daemon before 202.

The order is that of C{spec/config.md} section 5; what is wrong is an L{InvalidValue}
with the key as people write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from haloy.config.app_file import (
    BuildConfig,
    EnvVar,
    History,
    ImageConfig,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.config.images import (
    effective_push,
    image_ref,
    is_reference,
    should_build,
)
from haloy.config.options import domains, health_timeout_s, proxy_options
from haloy.config.units import parse_size
from haloy.errors import InvalidValue
from haloy.model.names import (
    DEFAULT_NETWORK,
    parse_app_name,
    parse_health_path,
    tag_problem,
)

PRESETS = ("database", "service")
STRATEGIES = ("rolling", "replace", "blue_green")
NAMINGS = ("dynamic", "static")
PULL_POLICIES = ("always", "if_missing", "never")
HISTORIES = ("local", "registry", "none")
PUSHES = ("server", "registry")
REPLICAS_LIMIT = 1000
MIN_READY_LIMIT_S = 600

#: A registry cannot tell yesterday's image from today's by one of these.
_MUTABLE_TAGS = ("", "latest", "main", "master", "develop", "staging", "production")

_ENV_NAME = re.compile(r"[^=\x00\s]+")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|.*\\")
#: Docker takes names of two characters and more.
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_VOLUME_OPTIONS = frozenset(
    {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}
    | {"private", "rprivate", "shared", "rshared", "slave", "rslave"}
)
_NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:-]*")


def validate_target(target: Target) -> None:
    """Check a merged target. @raise InvalidValue: of the first thing that is wrong."""
    for check in _checks(target):
        check()


def problems_of(target: Target) -> list[InvalidValue]:
    """Return all that is wrong with a merged target: of each part the first thing."""
    found = []
    for check in _checks(target):
        try:
            check()
        except InvalidValue as problem:
            found.append(problem)
    return found


def _checks(target: Target) -> Iterator[Callable[[], object]]:
    yield partial(_name, target)
    yield partial(_one_of, target.preset, PRESETS, "preset")
    yield partial(_image, target)
    yield partial(_naming, target)
    yield partial(domains, target)
    for i, variable in enumerate(target.env or ()):
        yield partial(_env, variable, f"env[{i}]")
    yield partial(_port, target.port)
    for i, volume in enumerate(target.volumes or ()):
        yield partial(validate_volume, volume, f"volumes[{i}]")
    yield partial(_health_path, target.health_check_path)
    yield partial(_between, target.replicas, 1, REPLICAS_LIMIT, "replicas")
    yield partial(
        _between, target.min_ready_seconds, 0, MIN_READY_LIMIT_S, "min_ready_seconds"
    )
    yield partial(_network, target.network)
    yield partial(health_timeout_s, target)
    yield partial(proxy_options, target.proxy)
    yield partial(_resources, target)


def validate_received(target: Target) -> None:
    """Check a target as the daemon gets it: with an image, and nothing to look up.

    @raise InvalidValue: of the first thing that is wrong (A1).
    """
    validate_target(target)
    if target.image is None:
        raise InvalidValue("is missing", field="image")
    for i, variable in enumerate(target.env or ()):
        if variable.value is None:
            _unresolved(f"env[{i}] ({variable.name})")
    registry = target.image.registry
    if registry is not None:
        for key in ("username", "password"):
            source = getattr(registry, key)
            if source is None or source.value is None:
                _unresolved(f"image.registry.{key}")


def _unresolved(field: str) -> NoReturn:
    raise InvalidValue("has no value: the client looks `from` up", field=field)


def warnings(target: Target) -> tuple[str, ...]:
    """Return what is allowed in a merged target and most likely a mistake."""
    image = target.image
    found = []
    if (
        image is not None
        and image.repository == target.name
        and not should_build(image)
        and image.registry is None
    ):
        found.append(
            f"image {image.repository} has the app's name and is not built here; "
            "set build: true, or name its registry"
        )
    if target.domains and target.network not in (None, "", DEFAULT_NETWORK):
        found.append(
            f"network {target.network} is not {DEFAULT_NETWORK}: "
            "the app gets no requests and is not checked"
        )
    return tuple(found)


def _name(target: Target) -> None:
    if not target.name:
        raise InvalidValue("is missing", field="name")
    if not target.server:
        raise InvalidValue("is missing", field="server")
    parse_app_name(target.name)


def _image(target: Target) -> None:
    if target.image is not None and target.image_key is not None:
        raise InvalidValue("give image or image_key, not both", field="image_key")
    if target.image is not None:
        validate_image(target.image)
        _taggable(target.name or "", target.image)


def _naming(target: Target) -> None:
    _one_of(target.naming_strategy, NAMINGS, "naming_strategy")
    if target.naming_strategy == "static":
        if target.deployment_strategy != "replace":
            raise InvalidValue(
                "static needs deployment_strategy: replace (one name, one container)",
                field="naming_strategy",
            )
        if (target.replicas or 1) > 1:
            raise InvalidValue("static allows one replica", field="replicas")
    _one_of(target.deployment_strategy, STRATEGIES, "deployment_strategy")


# --- images -----------------------------------------------------------------


def validate_image(image: ImageConfig) -> None:
    """Check an image entry. @raise InvalidValue: of the first thing that is wrong."""
    if not image.repository:
        raise InvalidValue("is missing", field="image.repository")
    _no_space(image.repository, "image.repository")
    _no_space(image.tag, "image.tag")
    if not is_reference(image_ref(image)):
        raise InvalidValue(
            f"{image_ref(image)!r} is not an image: use lower case, as in "
            "registry.example.com/team/app:1.2",
            field="image.repository",
        )
    _one_of(image.pull_policy, PULL_POLICIES, "image.pull_policy")
    if image.history is not None:
        _history(image.history, image.tag or "")
    if image.registry is not None:
        _no_space(image.registry.server, "image.registry.server")
        _source(image.registry.username, "image.registry.username")
        _source(image.registry.password, "image.registry.password")
    if image.build_config is not None:
        _build(image.build_config)
    if should_build(image):
        push = effective_push(image)
        if push == "registry" and image.registry is None:
            raise InvalidValue(
                "pushing to a registry needs credentials", field="image.registry"
            )
        if push == "server" and image.registry is not None:
            raise InvalidValue(
                "an image sent to the server needs no registry; leave it out, "
                "or set build_config.push: registry",
                field="image.registry",
            )


def _taggable(name: str, image: ImageConfig) -> None:
    """Refuse a name of which no image tag can be made, where one must be."""
    strategy = image.history.strategy if image.history is not None else None
    if strategy != "none" and (problem := tag_problem(name)):
        raise InvalidValue(problem, field="name")


def _history(history: History, tag: str) -> None:
    _one_of(history.strategy, HISTORIES, "image.history.strategy")
    registry = history.strategy == "registry"
    if registry and history.count is None:
        raise InvalidValue(
            "registry history needs a count", field="image.history.count"
        )
    if history.strategy != "none" and history.count is not None and history.count < 1:
        raise InvalidValue("must be 1 or more", field="image.history.count")
    if registry and not history.pattern:
        raise InvalidValue(
            "registry history needs a pattern", field="image.history.pattern"
        )
    if registry and tag in _MUTABLE_TAGS:
        raise InvalidValue(
            f"registry history needs a tag that stays, not {tag or 'latest'!r}",
            field="image.tag",
        )


def _build(build: BuildConfig) -> None:
    for key in ("context", "dockerfile", "platform"):
        _no_space(getattr(build, key), f"image.build_config.{key}")
    for i, argument in enumerate(build.args or ()):
        field = f"image.build_config.args[{i}]"
        if not argument.name:
            raise InvalidValue("is missing", field=f"{field}.name")
        if argument.value is not None and argument.source is not None:
            raise InvalidValue("give value or from, not both", field=field)
        _from(argument.source, field)
    _one_of(build.push, PUSHES, "image.build_config.push")


# --- values -----------------------------------------------------------------


def _env(variable: EnvVar, field: str) -> None:
    if _ENV_NAME.fullmatch(variable.name) is None:
        raise InvalidValue(
            f"{variable.name!r} is not a variable name", field=f"{field}.name"
        )
    named = f"{field} ({variable.name})"
    _exactly_one(variable.value, variable.source, named)
    if variable.value is not None and "\0" in variable.value:
        raise InvalidValue("holds a NUL character", field=named)


def _source(source: ValueSource | None, field: str) -> None:
    if source is None:
        raise InvalidValue("is missing", field=field)
    _exactly_one(source.value, source.source, field)


def _exactly_one(value: str | None, source: ValueFrom | None, field: str) -> None:
    if value is not None and source is not None:
        raise InvalidValue("give value or from, not both", field=field)
    if value is None and source is None:
        raise InvalidValue(
            "needs a value, or from: {env: …} or {secret: …}", field=field
        )
    if value == "":
        raise InvalidValue("the value is empty; leave the entry out", field=field)
    _from(source, field)


def _from(source: ValueFrom | None, field: str) -> None:
    if source is not None and bool(source.env) == bool(source.secret):
        raise InvalidValue("needs exactly one of env and secret", field=f"{field}.from")


def _health_path(path: str | None) -> None:
    if path is not None:
        parse_health_path(path, "health_check_path")


def _network(network: str | None) -> None:
    if network and _NETWORK.fullmatch(network) is None:
        raise InvalidValue(f"{network!r} is not a network", field="network")


def _port(port: str | None) -> None:
    if port is None:
        return
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not digits or not 1 <= int(port) <= 65535:
        raise InvalidValue(f"{port!r} is not a port (1 to 65535)", field="port")


def validate_volume(volume: str, field: str) -> None:
    """Check C{source:/target[:options]}. @raise InvalidValue: it is none."""
    text = volume.strip()
    if not text.isprintable():
        raise InvalidValue("holds a control character", field=field)
    if _WINDOWS.match(text):
        raise InvalidValue("Windows paths are not supported", field=field)
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not source or not target:
        raise InvalidValue(f"{volume!r} is not source:/target", field=field)
    if not target.startswith("/"):
        raise InvalidValue(f"target {target!r} must be absolute", field=field)
    unknown = [one for one in options.split(",") if one not in _VOLUME_OPTIONS]
    if options and unknown:
        known = ", ".join(sorted(_VOLUME_OPTIONS))
        raise InvalidValue(f"option {unknown[0]!r} is not one of {known}", field=field)
    if not source.startswith("/") and _VOLUME_NAME.fullmatch(source) is None:
        raise InvalidValue(
            f"source {source!r} must be an absolute path, or a volume name of two "
            "letters and more",
            field=field,
        )


def _resources(target: Target) -> None:
    entry = target.resources
    if entry is None:
        return
    if entry.memory is not None:
        parse_size(entry.memory, "resources.memory", 6 << 20)
    if entry.cpus is not None and not 0.01 <= entry.cpus <= 1024:
        raise InvalidValue("must be 0.01 to 1024", field="resources.cpus")
    _between(entry.pids, 1, 1 << 22, "resources.pids")


def _one_of(value: str | None, known: tuple[str, ...], field: str) -> None:
    if value is not None and value not in known:
        raise InvalidValue(f"{value!r} is not one of {', '.join(known)}", field=field)


def _between(value: int | None, least: int, most: int, field: str) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidValue(f"must be {least} to {most}, not {value}", field=field)


def _no_space(text: str | None, field: str) -> None:
    if text is not None and any(character.isspace() for character in text):
        raise InvalidValue(f"{text!r} contains white space", field=field)
