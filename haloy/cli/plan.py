"""What a C{haloy deploy} will do: its targets, resolved, checked, compared."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from typing import Any

import click
from attrs import define, evolve, field

from haloy.cli.context import Project, Selected
from haloy.cli.output import Output
from haloy.config.app_file import AppFile, Target
from haloy.config.capabilities import require, sendable, storable_providers
from haloy.config.diff import Change, changes
from haloy.config.images import image_ref, should_build
from haloy.config.interpolate import interpolate
from haloy.config.validate import validate_target
from haloy.config.wire import target_to_json, unstructure
from haloy.errors import ConfigError, HaloyError, InvalidValue
from haloy.model.names import new_deployment_id

#: What is shown of a plan's changes; C{--json} has all of them.
CHANGES_SHOWN = 30


@define(eq=False)
class Planned:
    """One target on its way: as written, and as it will run.

    @ivar running: the deployment that runs now, C{""}: none, C{None}: not known.
    @ivar before: how that one is configured, C{None} when the server does not say.
    """

    selected: Selected
    resolved: Target
    deployment: str
    problem: HaloyError | None = field(default=None, init=False)
    running: str | None = field(default=None, init=False)
    before: Target | None = field(default=None, init=False)

    @property
    def ref(self) -> str:
        """The image's reference."""
        image = self.resolved.image
        return image_ref(image) if image is not None else ""

    @property
    def is_built(self) -> bool:
        """Whether the image is built here."""
        image = self.resolved.image
        return image is not None and should_build(image)

    @property
    def changes(self) -> tuple[Change, ...] | None:
        """What is different from what runs; C{None}: not known."""
        if self.before is None:
            return None
        return changes(self.before, sendable(self.selected.target))


def make_plan(project: Project, chosen: list[Selected], tag: str = "") -> list[Planned]:
    """Return the targets with their secrets, checked; nothing has been done yet.

    @param tag: what replaces the tags of all images.
    @raise ConfigError: a target is not right; others behind it are told as well.
    """
    ids: dict[str, str] = {}
    plan = []
    problems: list[ConfigError] = []
    for one in chosen:
        one = _tagged(one, tag) if tag else one
        try:
            validate_target(one.target)
            resolved = interpolate(project.resolve(one))
            validate_target(resolved)
        except InvalidValue as problem:
            problems.append(project.located(problem, one.name))
            continue
        if one.app not in ids:
            now_ms = time.time_ns() // 1_000_000
            ids[one.app] = new_deployment_id(now_ms, secrets.token_bytes(10))
        plan.append(Planned(one, resolved, ids[one.app]))
    if problems:
        problems[0].others = tuple(problems[1:])
        raise problems[0]
    _refuse_two_builds(plan)
    return plan


def check_capabilities(
    project: Project, one: Planned, capabilities: Collection[str]
) -> None:
    """@raise ConfigError: the target's server does not know a key of it."""
    try:
        require(one.resolved, capabilities)
    except InvalidValue as problem:
        raise project.located(problem, one.selected.name) from None


def _tagged(one: Selected, tag: str) -> Selected:
    image = one.target.image
    if image is None:
        return one
    return evolve(one, target=evolve(one.target, image=evolve(image, tag=tag)))


def _refuse_two_builds(plan: list[Planned]) -> None:
    """@raise ConfigError: one reference would be built in two ways."""
    builds: dict[str, Planned] = {}
    for one in plan:
        image = one.resolved.image
        if image is None or not should_build(image):
            continue
        other = builds.setdefault(one.ref, one)
        other_build = (
            other.resolved.image.build_config if other.resolved.image else None
        )
        if other_build != image.build_config:
            raise ConfigError(
                f"targets {other.selected.name} and {one.selected.name} build "
                f"{one.ref} in different ways; give one of them another tag or "
                "repository"
            )


# --- showing ------------------------------------------------------------------------


def show_plan(plan: list[Planned], output: Output) -> None:
    """Say what will run where, and what changes by that."""
    for one in plan:
        target = one.resolved
        built = " (built here)" if one.is_built else ""
        replicas = f"{target.replicas} replica{'s' if target.replicas != 1 else ''}"
        output.info(
            f"{one.selected.app} → {one.selected.server}: {one.ref}{built}, "
            f"{replicas}, {target.deployment_strategy}",
            one.selected.name if len(plan) > 1 else "",
        )
        if not output.quiet:
            _show_changes(one, output)


def _show_changes(one: Planned, output: Output) -> None:
    if one.running == "":
        output.line("    runs nowhere yet: a first deployment")
    found = one.changes
    if found is None:
        return
    if not found:
        output.line(f"    the configuration is that of {one.running}")
    for change in found[:CHANGES_SHOWN]:
        output.line(f"    {styled(change)}")
    if len(found) > CHANGES_SHOWN:
        output.line(f"    … and {len(found) - CHANGES_SHOWN} more")


def styled(change: Change) -> str:
    """Return a change as it is shown: green what comes, red what goes."""
    text = str(change)
    return click.style(text, fg={"+": "green", "-": "red"}.get(text[0], "yellow"))


def change_json(change: Change) -> dict[str, Any]:
    """Return a change for programs."""
    return {"key": change.key, "before": change.before, "after": change.after}


def plan_json(one: Planned) -> dict[str, Any]:
    """Return what would be done, for programs."""
    found = one.changes
    return {
        "target": one.selected.name,
        "app": one.selected.app,
        "server": one.selected.server,
        "image": one.ref,
        "build": one.is_built,
        "replicas": one.resolved.replicas,
        "strategy": one.resolved.deployment_strategy,
        "running": one.running or None,
        "changes": None if found is None else [change_json(change) for change in found],
    }


# --- the request --------------------------------------------------------------------


def deploy_body(file: AppFile, one: Planned) -> dict[str, Any]:
    """Return the body of the request.

    C{rollbackDeployConfig} has references instead of secrets, and no token goes
    along in either (CLI section 9, point 5).
    """
    stored = target_to_json(sendable(one.selected.target))
    providers = storable_providers(file.secret_providers)
    if providers is not None:
        stored["secretProviders"] = unstructure(providers, camel=True)
    return {
        "deploymentID": one.deployment,
        "targetConfig": target_to_json(sendable(one.resolved)),
        "rollbackDeployConfig": stored,
    }
