"""C{haloy deploy}."""

from __future__ import annotations

import secrets
import time
from typing import Any

import click
from attrs import define, evolve, field

from haloy.cli.build import build_image, check_docker
from haloy.cli.context import (
    Project,
    Selected,
    by_server,
    client_for,
    limit_option,
    load_project,
    located,
    target_options,
)
from haloy.cli.exits import exit_code_of_several
from haloy.cli.hooks import run_hooks
from haloy.cli.output import Output, show_entry
from haloy.cli.running import run
from haloy.config.app_file import AppFile, Target
from haloy.config.client_file import is_local
from haloy.config.images import effective_push, image_ref, should_build
from haloy.config.interpolate import interpolate
from haloy.config.validate import validate_target
from haloy.config.wire import target_to_json, unstructure
from haloy.errors import ConfigError, DeployFailed, HaloyError, InvalidValue
from haloy.model.names import new_deployment_id


@define(eq=False)
class Planned:
    """One target on its way: as written, and as it will run."""

    selected: Selected
    resolved: Target
    deployment: str
    problem: HaloyError | None = field(default=None, init=False)


@click.command()
@target_options
@limit_option
@click.option(
    "--include-protected", is_flag=True, help="With --all: protected ones too."
)
@click.option("--no-logs", is_flag=True, help="Return when the request is accepted.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, and stop.")
@click.option("--quiet", "-q", is_flag=True, help="Only warnings and errors.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def deploy(
    config: str,
    names: tuple[str, ...],
    everything: bool,
    limit_s: float,
    include_protected: bool,
    no_logs: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build, upload and deploy the app of this folder.

    Exit codes: 0 all deployed, 3 configuration, 4 authentication, 5 server
    unreachable, 6 deployment failed, 7 some of several failed.
    """
    output = Output(as_json=as_json, quiet=quiet)
    project = load_project(config)
    chosen = project.select(names, everything)
    if everything and not include_protected:
        chosen = _without_protected(chosen, output)
    plan = make_plan(project, chosen)
    _show_plan(plan, output)
    if dry_run:
        return
    run(lambda reactor: carry_out(reactor, project, plan, output, no_logs, limit_s))
    problems = [one.problem for one in plan if one.problem is not None]
    if as_json:
        output.json([_report(one) for one in plan])
    if len(plan) > 1:
        for one in plan:
            if one.problem is not None:
                output.error(str(one.problem), one.selected.name)
    raise SystemExit(exit_code_of_several(problems, len(plan)))


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


def _without_protected(chosen: list[Selected], output: Output) -> list[Selected]:
    kept = [one for one in chosen if not one.target.protected]
    left_out = [one.name for one in chosen if one.target.protected]
    if left_out:
        output.warn(
            f"protected, not deployed: {', '.join(left_out)} "
            "(name them with --targets, or give --include-protected)"
        )
    if not kept:
        raise HaloyError("all targets are protected")
    return kept


def _show_plan(plan: list[Planned], output: Output) -> None:
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


# --- carrying out ---------------------------------------------------------------


async def carry_out(
    reactor: Any,
    project: Project,
    plan: list[Planned],
    output: Output,
    no_logs: bool,
    limit_s: float,
) -> None:
    """Check servers, build, and deploy; problems stay with their targets."""
    clients = {
        server: client_for(reactor, project, group[0], limit_s)
        for server, group in by_server([one.selected for one in plan]).items()
    }
    for client in clients.values():
        await client.version()
    _build(project, plan, output)
    hooks = project.file.global_pre_deploy
    run_hooks(hooks, "global_pre_deploy", project.folder, {}, output)
    for one in plan:
        try:
            client = clients[one.selected.server]
            prefix = one.selected.name if len(plan) > 1 else ""
            await _deploy(client, project, one, output, no_logs, prefix)
        except HaloyError as problem:
            one.problem = problem
            if len(plan) == 1 and not isinstance(problem, DeployFailed):
                raise
    if not any(one.problem for one in plan):
        hooks = project.file.global_post_deploy
        run_hooks(hooks, "global_post_deploy", project.folder, {}, output)


def _build(project: Project, plan: list[Planned], output: Output) -> None:
    images = {
        image_ref(one.resolved.image): one.resolved.image
        for one in plan
        if one.resolved.image is not None and should_build(one.resolved.image)
    }
    if not images:
        return
    for one in plan:
        image = one.resolved.image
        if image is None or not should_build(image):
            continue
        if effective_push(image) == "server" and not is_local(one.selected.server):
            raise HaloyError(
                f"{one.selected.server} is another machine: images cannot be sent "
                "there; push to a registry (build_config.push: registry)"
            )
    check_docker(list(images))
    for image in images.values():
        build_image(image, project.folder, output)


async def _deploy(
    client: Any,
    project: Project,
    one: Planned,
    output: Output,
    no_logs: bool,
    prefix: str,
) -> None:
    variables = {
        "HALOY_APP_NAME": one.selected.app,
        "HALOY_DEPLOYMENT_ID": one.deployment,
        "HALOY_TARGET": one.selected.name,
        "HALOY_SERVER": one.selected.server,
    }
    target = one.resolved
    run_hooks(target.pre_deploy, "pre_deploy", project.folder, variables, output)
    await client.deploy(deploy_body(project.file, one))
    output.info(f"Deployment {one.deployment} started", prefix)
    if no_logs:
        return
    await follow(client, one.deployment, output, prefix)
    run_hooks(target.post_deploy, "post_deploy", project.folder, variables, output)


async def follow(client: Any, deployment: str, output: Output, prefix: str) -> None:
    """Show a deployment's log to its end. @raise DeployFailed: it failed."""
    async for entry in client.deployment_log(deployment):
        show_entry(output, entry, prefix)
        if entry.get("isDeploymentFailed"):
            fields = entry.get("fields") or {}
            raise DeployFailed(
                str(fields.get("error") or entry.get("message")),
                failure=str(fields.get("code") or "failed"),
            )
        if entry.get("isDeploymentComplete"):
            return


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


def _report(one: Planned) -> dict[str, Any]:
    return {
        "target": one.selected.name,
        "app": one.selected.app,
        "server": one.selected.server,
        "deploymentId": one.deployment,
        "ok": one.problem is None,
        "error": None if one.problem is None else str(one.problem),
    }
