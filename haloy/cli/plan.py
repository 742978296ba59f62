"""What a C{haloy deploy} will do: its targets, resolved and checked."""

from __future__ import annotations

import secrets
import time
from typing import Any

from attrs import define, evolve, field

from haloy.cli.context import Project, Selected, located
from haloy.cli.output import Output
from haloy.config.app_file import AppFile, Target
from haloy.config.images import image_ref, should_build
from haloy.config.interpolate import interpolate
from haloy.config.validate import validate_target
from haloy.config.wire import target_to_json, unstructure
from haloy.errors import ConfigError, HaloyError, InvalidValue
from haloy.model.names import new_deployment_id


@define(eq=False)
class Planned:
    """One target on its way: as written, and as it will run."""

    selected: Selected
    resolved: Target
    deployment: str
    problem: HaloyError | None = field(default=None, init=False)


def make_plan(project: Project, chosen: list[Selected]) -> list[Planned]:
    """Return the targets with their secrets, checked; nothing has been done yet.

    @raise ConfigError: a target is not right.
    """
    ids: dict[str, str] = {}
    plan = []
    for one in chosen:
        try:
            validate_target(one.target)
            resolved = interpolate(project.resolve(one))
            validate_target(resolved)
        except InvalidValue as problem:
            raise located(problem, project) from None
        if one.app not in ids:
            now_ms = time.time_ns() // 1_000_000
            ids[one.app] = new_deployment_id(now_ms, secrets.token_bytes(10))
        plan.append(Planned(one, resolved, ids[one.app]))
    _refuse_two_builds(plan)
    return plan


def _refuse_two_builds(plan: list[Planned]) -> None:
    """@raise ConfigError: one reference would be built in two ways."""
    builds: dict[str, Planned] = {}
    for one in plan:
        image = one.resolved.image
        if image is None or not should_build(image):
            continue
        ref = image_ref(image)
        other = builds.setdefault(ref, one)
        other_build = (
            other.resolved.image.build_config if other.resolved.image else None
        )
        if other_build != image.build_config:
            raise ConfigError(
                f"targets {other.selected.name} and {one.selected.name} build {ref} in "
                "different ways; give one of them another tag or repository"
            )


def show_plan(plan: list[Planned], output: Output) -> None:
    """Say what will run where."""
    for one in plan:
        target = one.resolved
        image = target.image
        ref = image_ref(image) if image is not None else ""
        built = " (built here)" if image is not None and should_build(image) else ""
        replicas = f"{target.replicas} replica{'s' if target.replicas != 1 else ''}"
        output.info(
            f"{one.selected.app} → {one.selected.server}: {ref}{built}, {replicas}, "
            f"{target.deployment_strategy}",
            one.selected.name if len(plan) > 1 else "",
        )


def deploy_body(file: AppFile, one: Planned) -> dict[str, Any]:
    """Return the body of the request.

    C{rollbackDeployConfig} has references instead of secrets, and no token goes
    along in either (CLI section 9, point 5).
    """
    stored = target_to_json(_public(one.selected.target))
    if file.secret_providers is not None:
        stored["secretProviders"] = unstructure(file.secret_providers, camel=True)
    return {
        "deploymentID": one.deployment,
        "targetConfig": target_to_json(_public(one.resolved)),
        "rollbackDeployConfig": stored,
    }


def _public(target: Target) -> Target:
    return evolve(target, api_token=None, image_key=None)
