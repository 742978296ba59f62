"""From a file to its targets: target over preset over root over defaults.

The steps are those of C{spec/config.md} section 4 in the order it promises: values
are frozen, so no target can change another one's (CLI section 9, points 7 and 8).
"""

from __future__ import annotations

from collections.abc import Mapping
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


def targets(file: AppFile, default_server: str = DEFAULT_SERVER) -> dict[str, Target]:
    """Return the merged targets of C{file} by name, in the order of the file.

    A file without C{targets} is one target under its own name.

    @raise InvalidValue: a target's name is none, or two apps have one name.
    """
    if not file.targets:
        if not file.name:
            raise InvalidValue("is missing: every app has a name", field="name")
        only = Target(
            **{one.name: getattr(file, one.name) for one in attrs.fields(Target)}
        )
        return {file.name: merge(only, file.name, Target(), file, default_server)}
    root = Target(**{one.name: getattr(file, one.name) for one in attrs.fields(Target)})
    merged: dict[str, Target] = {}
    owners: dict[str, str] = {}
    for key, target in file.targets.items():
        parse_app_name(key, f"targets.{key}")
        one = merge(target, key, root, file, default_server)
        if one.name in owners:
            raise InvalidValue(
                f"targets {owners[one.name]} and {key} are both named {one.name}",
                field=f"targets.{key}.name",
            )
        owners[str(one.name)] = key
        merged[key] = one
    return merged


def merge(
    target: Target, key: str, root: Target, file: AppFile, default_server: str
) -> Target:
    """Return C{target} with everything it inherits, and the defaults."""
    name = target.name or key
    preset = target.preset or root.preset
    if preset is not None and preset not in PRESETS:
        raise InvalidValue(
            f"{preset!r} is none of {', '.join(PRESETS)}", field="preset"
        )
    result = evolve(
        target,
        name=name,
        preset=preset,
        image=_image(target, root, file),
        image_key=None,
    )
    result = _apply_preset(result, root)
    inherited = {
        field: getattr(root, field)
        for field in _INHERITED
        if getattr(result, field) is None
    }
    result = evolve(result, env=_env(target.env, root.env), **inherited)
    return _build_args(_defaults(result, default_server))


def _image(target: Target, root: Target, file: AppFile) -> ImageConfig | None:
    if target.image is not None and target.image_key is not None:
        raise InvalidValue("give image or image_key, not both", field="image_key")
    if target.image is not None:
        if root.image is None:
            return target.image
        own = {
            one.name: getattr(target.image, one.name)
            for one in attrs.fields(ImageConfig)
            if getattr(target.image, one.name) is not None
        }
        return evolve(root.image, **own)
    image_key = target.image_key or (root.image_key if root.image is None else None)
    if image_key is None:
        return root.image
    named = (file.images or {}).get(image_key)
    if named is None:
        known = ", ".join(sorted(file.images or {})) or "none"
        raise InvalidValue(
            f"there is no image {image_key!r} under images (known: {known})",
            field="image_key",
        )
    return named


def _apply_preset(target: Target, root: Target) -> Target:
    """Fill in what the preset says and the target does not; root values come after."""
    if target.preset is None:
        return target
    filled = {
        field: value
        for field, value in _PRESET.items()
        if getattr(target, field) is None
    }
    if target.preset == "database" and target.protected is None:
        filled["protected"] = root.protected is not False
    image = target.image
    if image is not None:
        image = evolve(
            image,
            history=image.history or History(strategy="none"),
            pull_policy=image.pull_policy or "if_missing",
        )
    return evolve(target, image=image, **filled)


def _env(
    own: tuple[EnvVar, ...] | None, root: tuple[EnvVar, ...] | None
) -> tuple[EnvVar, ...] | None:
    """Merge by name: the root's order first, a target's value wins."""
    if own is None and root is None:
        return None
    merged = {variable.name: variable for variable in (*(root or ()), *(own or ()))}
    return tuple(merged.values())


def _defaults(target: Target, default_server: str) -> Target:
    image = target.image or ImageConfig()
    if not image.repository:
        image = evolve(image, repository=(target.name or "").lower())
        if image.build is None and image.build_config is None:
            image = evolve(image, build=True)
    history = image.history or History()
    strategy = history.strategy or "local"
    count = history.count
    if strategy == "local" and count is None:
        count = DEFAULT_HISTORY
    image = evolve(image, history=evolve(history, strategy=strategy, count=count))
    return evolve(
        target,
        image=image,
        server=target.server or default_server,
        deployment_strategy=target.deployment_strategy or "rolling",
        health_check_path=target.health_check_path or "/",
        port=target.port or "8080",
        replicas=1 if target.replicas is None else target.replicas,
        min_ready_seconds=target.min_ready_seconds or 0,
    )


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
