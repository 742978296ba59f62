"""C{${NAME}} inside the environment values of one target (C{spec/config.md} 7.3)."""

from __future__ import annotations

import re

from attrs import evolve

from haloy.config.app_file import EnvVar, Target
from haloy.errors import InvalidValue

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def interpolate(target: Target) -> Target:
    """Return C{target} with the references among its variables replaced.

    Unknown names stay as they are. Build arguments that came from a variable get
    its replaced value too.

    @raise InvalidValue: variables refer to each other in a circle.
    """
    variables = target.env or ()
    values = {one.name: one.value for one in variables if one.value is not None}
    done: dict[str, str] = {}

    def value_of(name: str, trail: tuple[str, ...]) -> str:
        if name in trail:
            circle = " -> ".join((*trail[trail.index(name) :], name))
            raise InvalidValue(f"variables refer in a circle: {circle}", field="env")
        if name not in done:
            done[name] = _REFERENCE.sub(
                lambda match: (
                    value_of(match[1], (*trail, name))
                    if match[1] in values
                    else match[0]
                ),
                values[name],
            )
        return done[name]

    for name in values:
        value_of(name, ())
    env = tuple(
        evolve(one, value=done[one.name]) if one.value is not None else one
        for one in variables
    )
    return _build_args(evolve(target, env=env or target.env), variables, done)


def _build_args(
    target: Target, before: tuple[EnvVar, ...], done: dict[str, str]
) -> Target:
    build = target.image.build_config if target.image is not None else None
    if target.image is None or build is None or build.args is None:
        return target
    shared = {one.name: one.value for one in before if one.build_arg}
    args = tuple(
        evolve(argument, value=done[argument.name])
        if argument.value is not None and shared.get(argument.name) == argument.value
        else argument
        for argument in build.args
    )
    image = evolve(target.image, build_config=evolve(build, args=args))
    return evolve(target, image=image)
