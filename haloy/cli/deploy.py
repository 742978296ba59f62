"""C{haloy deploy}."""

from __future__ import annotations

from typing import Any

import click

from haloy.cli.context import (
    Project,
    Selected,
    by_server,
    client_for,
    limit_option,
    load_project,
    target_options,
)
from haloy.cli.exits import exit_code_of_several
from haloy.cli.hooks import run_hooks
from haloy.cli.output import Output, show_entry
from haloy.cli.plan import Planned, deploy_body, make_plan, show_plan
from haloy.cli.provide import provide_images
from haloy.cli.running import run
from haloy.cli.upload import Destination
from haloy.errors import DeployFailed, HaloyError


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
    show_plan(plan, output)
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
    servers = {}
    for name, group in by_server([one.selected for one in plan]).items():
        client = client_for(reactor, project, group[0], limit_s)
        version = await client.version()
        capabilities = frozenset(version.get("capabilities") or ())
        servers[name] = Destination(client, name, capabilities)
    await provide_images(reactor, project, plan, servers, output)
    if len(plan) == 1 and plan[0].problem is not None:
        raise plan[0].problem
    hooks = project.file.global_pre_deploy
    run_hooks(hooks, "global_pre_deploy", project.folder, {}, output)
    for one in plan:
        if one.problem is not None:
            continue
        try:
            client = servers[one.selected.server].client
            prefix = one.selected.name if len(plan) > 1 else ""
            await _deploy(client, project, one, output, no_logs, prefix)
        except HaloyError as problem:
            one.problem = problem
            if len(plan) == 1 and not isinstance(problem, DeployFailed):
                raise
    if not any(one.problem for one in plan):
        hooks = project.file.global_post_deploy
        run_hooks(hooks, "global_post_deploy", project.folder, {}, output)


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


def _report(one: Planned) -> dict[str, Any]:
    return {
        "target": one.selected.name,
        "app": one.selected.app,
        "server": one.selected.server,
        "deploymentId": one.deployment,
        "ok": one.problem is None,
        "error": None if one.problem is None else str(one.problem),
    }
