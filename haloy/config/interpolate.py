"""C{${NAME}} inside the environment values of one target (C{spec/config.md} 7.3)."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

from attrs import evolve

from haloy.config.app_file import EnvVar, Target
from haloy.errors import InvalidValue

VALUE_LIMIT_BYTES = 128 << 10
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def interpolate(target: Target) -> Target:
    """Return C{target} with the references among its variables replaced.

    Unknown names stay as they are. Build arguments that came from a variable get
    its replaced value too.

    @raise InvalidValue: variables refer to each other in a circle, or a value grows
        beyond what the kernel hands to a process (execve(2), MAX_ARG_STRLEN).
    """
    variables = target.env or ()
    values = {one.name: one.value for one in variables if one.value is not None}
    uses = {
        name: [used for used in _REFERENCE.findall(value) if used in values]
        for name, value in values.items()
    }
    try:
        order = tuple(TopologicalSorter(uses).static_order())
    except CycleError as problem:
        circle = " -> ".join(reversed(problem.args[1]))
        raise InvalidValue(
            f"variables refer in a circle: {circle}", field="env"
        ) from None
    done: dict[str, str] = {}
    for name in order:
        done[name] = _REFERENCE.sub(
            lambda match: done.get(match[1], match[0]), values[name]
        )
        if len(done[name].encode()) > VALUE_LIMIT_BYTES:
            raise InvalidValue(
                f"{name} is longer than 128 KiB, which no process can take", field="env"
            )
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
