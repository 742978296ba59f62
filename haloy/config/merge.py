"""From a file to its targets: target over preset over root over defaults.

The steps are those of C{spec/config.md} section 4 in the order it promises: values
are frozen, so no target can change another one's (CLI section 9, points 7 and 8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
from attrs import evolve

from haloy.config.app_file import (
    AppFile,
    BuildArg,
    BuildConfig,
    EnvVar,
    History,
    ImageConfig,
    Target,
)
from haloy.config.images import effective_push, should_build
from haloy.config.validate import PRESETS
from haloy.errors import InvalidValue
from haloy.model.names import parse_app_name

DEFAULT_SERVER = "localhost"
DEFAULT_HISTORY = 6
DEFAULT_PLATFORM = "linux/amd64"

_PRESET: Mapping[str, Any] = {
    "deployment_strategy": "replace",
    "naming_strategy": "static",
}
_INHERITED = tuple(
    one.name
    for one in attrs.fields(Target)
    if one.name not in {"name", "preset", "image", "image_key", "env"}
)


def targets(
    file: AppFile, servers: Collection[str] = (), only: Collection[str] | None = None
) -> dict[str, Target]:
    """Return the merged targets of C{file} by key, in the order of the file.

    A file without C{targets} is one target under its own name.

    @param servers: those that the client knows. A target without a server gets the
        only one of them, C{localhost} when there is none.
    @param only: keys of the targets to merge; C{None} for all.
    @raise InvalidTarget: names the target and its key.
    """
    root = Target(**{one.name: getattr(file, one.name) for one in attrs.fields(Target)})
    if not file.targets:
        if not file.name:
            raise InvalidTarget("is missing: every app has a name", field="name")
        return {file.name: merge(root, file.name, Target(), file, servers)}
    owners: dict[str, str] = {}
    for key, target in file.targets.items():
        name = target.name or key
        if name in owners:
            raise InvalidTarget(
                f"targets {owners[name]} and {key} are both named {name}",
                field="name",
                target=key,
            )
        owners[name] = key
    return {
        key: merge(target, key, root, file, servers)
        for key, target in file.targets.items()
        if only is None or key in only
    }


@attrs.define(eq=False)
class InvalidTarget(InvalidValue):
    """An InvalidValue of one entry under C{targets}; C{""}: of the file's root."""

    target: str = ""

    def __str__(self) -> str:
        """Return C{targets.NAME: field: reason}."""
        said = super().__str__()
        return f"targets.{self.target}: {said}" if self.target else said


def merge(
    target: Target, key: str, root: Target, file: AppFile, servers: Collection[str]
) -> Target:
    """Return C{target} with everything it inherits, and the defaults.

    @raise InvalidTarget: something that merging needs is not right.
    """
    try:
        return _merge(target, key, root, file, servers)
    except InvalidValue as problem:
        raise InvalidTarget(
            problem.reason, field=problem.field, target=key if file.targets else ""
        ) from None


def _merge(
    target: Target, key: str, root: Target, file: AppFile, servers: Collection[str]
) -> Target:
    name = parse_app_name(target.name or key)
    preset = target.preset or root.preset
    if preset is not None and preset not in PRESETS:
        raise InvalidValue(
            f"{preset!r} is not one of {', '.join(PRESETS)}", field="preset"
        )
    own, inherited_image = _images(target, root, file)
    result = evolve(target, name=name, preset=preset, image=own, image_key=None)
    if preset is not None:
        result = _apply_preset(result, root, own is None and inherited_image is None)
    image = _fill(result.image, inherited_image)
    inherited = {
        field: getattr(root, field)
        for field in _INHERITED
        if getattr(result, field) is None
    }
    result = evolve(result, image=image, env=_env(target.env, root.env), **inherited)
    return _build_args(_defaults(result, servers))


def _images(
    target: Target, root: Target, file: AppFile
) -> tuple[ImageConfig | None, ImageConfig | None]:
    """Return the target's own image and the one it inherits from."""
    for one in (target, root):
        if one.image is not None and one.image_key is not None:
            raise InvalidValue("give image or image_key, not both", field="image_key")
    if target.image is not None:
        return target.image, root.image
    if target.image_key is not None:
        return _named(target.image_key, file), None
    if root.image_key is not None:
        return None, _named(root.image_key, file)
    return None, root.image


def _named(image_key: str, file: AppFile) -> ImageConfig:
    named = (file.images or {}).get(image_key)
    if named is None:
        known = ", ".join(sorted(file.images or {})) or "none"
        raise InvalidValue(
            f"there is no image {image_key!r} under images (known: {known})",
            field="image_key",
        )
    return named


def _fill(own: ImageConfig | None, base: ImageConfig | None) -> ImageConfig | None:
    """Return C{own} with what only C{base} says; each key as a whole."""
    if own is None or base is None:
        return own or base
    said = {
        one.name: getattr(own, one.name)
        for one in attrs.fields(ImageConfig)
        if getattr(own, one.name) is not None
    }
    return evolve(base, **said)


def _apply_preset(target: Target, root: Target, no_image: bool) -> Target:
    """Fill in what the preset says and the target does not; root values come after."""
    filled: dict[str, Any] = {
        field: value
        for field, value in _PRESET.items()
        if getattr(target, field) is None
    }
    if target.preset == "database" and target.protected is None:
        filled["protected"] = root.protected is not False
    if not no_image:
        image = target.image or ImageConfig()
        filled["image"] = evolve(
            image,
            history=image.history or History(strategy="none"),
            pull_policy=image.pull_policy or "if_missing",
        )
    return evolve(target, **filled)


def _env(
    own: tuple[EnvVar, ...] | None, root: tuple[EnvVar, ...] | None
) -> tuple[EnvVar, ...] | None:
    """Merge by name: the root's order first, a target's value wins."""
    if own is None and root is None:
        return None
    merged = {variable.name: variable for variable in (*(root or ()), *(own or ()))}
    return tuple(merged.values())


def _defaults(target: Target, servers: Collection[str]) -> Target:
    image = target.image or ImageConfig()
    if not image.repository:
        image = evolve(image, repository=(target.name or "").lower())
        if image.build is None and image.build_config is None:
            image = evolve(image, build=True)
    history = image.history or History()
    strategy, count = history.strategy or "local", history.count
    if strategy == "local" and count is None:
        count = DEFAULT_HISTORY
    image = evolve(image, history=evolve(history, strategy=strategy, count=count))
    return evolve(
        target,
        image=image,
        server=target.server or _only(servers),
        deployment_strategy=target.deployment_strategy or "rolling",
        health_check_path=target.health_check_path or "/",
        port=target.port or "8080",
        replicas=1 if target.replicas is None else target.replicas,
        min_ready_seconds=target.min_ready_seconds or 0,
    )


def _only(servers: Collection[str]) -> str:
    if not servers:
        return DEFAULT_SERVER
    if len(servers) > 1:
        raise InvalidValue(
            f"is missing; you have added {', '.join(sorted(servers))}", field="server"
        )
    return next(iter(servers))


def _build_args(target: Target) -> Target:
    """Pass C{build_arg} variables to the build; say where a built image goes.

    C{push} is always said: without it a daemon asks the public registry for an
    image of the app's name (D10).
    """
    image = target.image
    if image is None or not should_build(image):
        return target
    build = image.build_config or BuildConfig()
    named = {argument.name for argument in build.args or ()}
    added = tuple(
        BuildArg(variable.name, variable.value, variable.source)
        for variable in target.env or ()
        if variable.build_arg and variable.name not in named
    )
    build = evolve(
        build,
        platform=build.platform or DEFAULT_PLATFORM,
        push=effective_push(image),
        args=((build.args or ()) + added) or None,
    )
    return evolve(target, image=evolve(image, build_config=build))
