"""C{haloy deploy}."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
from attrs import define
from twisted.internet.threads import deferToThread

from haloy.cli.build import BuildOptions
from haloy.cli.context import (
    Project,
    Selected,
    by_server,
    choose,
    client_for,
    failed_of,
)
from haloy.cli.exits import exit_code_of_several
from haloy.cli.follow import Board, deploy_limit_option, follow
from haloy.cli.hooks import run_hooks
from haloy.cli.options import Selection, output_options, target_options
from haloy.cli.output import Output
from haloy.cli.plan import (
    Planned,
    check_capabilities,
    deploy_body,
    make_plan,
    plan_json,
    show_plan,
)
from haloy.cli.provide import provide_images
from haloy.cli.running import run, together
from haloy.cli.upload import Destination
from haloy.config.images import TAG
from haloy.config.wire import target_from_json
from haloy.errors import HaloyError, NotFound


def _tag(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """Refuse what is no tag, C{""} too: a script's variable may be unset."""
    if value is not None and not re.fullmatch(TAG, value, re.ASCII):
        raise click.BadParameter(f"{value!r} is no tag of an image")
    return value or ""


@click.command("deploy")
@target_options
@click.option(
    "--include-protected", is_flag=True, help="With --all: protected targets, too."
)
@click.option("--dry-run", is_flag=True, help="Show what would happen, and stop.")
@click.option("--no-logs", is_flag=True, help="Return once the server has accepted it.")
@click.option("--tag", metavar="TAG", callback=_tag, help="Tag the images with TAG.")
@click.option("--git-tag", is_flag=True, help="Tag the images with the commit's SHA.")
@click.option("--skip-build", is_flag=True, help="Use the images as they are.")
@click.option("--no-cache", is_flag=True, help="Build without Docker's cache.")
@click.option("--pull", is_flag=True, help="Pull newer base images first.")
@deploy_limit_option("a deployment")
@output_options
def deploy_(
    selection: Selection,
    include_protected: bool,
    dry_run: bool,
    no_logs: bool,
    tag: str,
    git_tag: bool,
    skip_build: bool,
    no_cache: bool,
    pull: bool,
    deploy_limit_s: float,
    output: Output,
) -> None:
    """Build, upload and deploy the app of this folder.

    It first shows what will happen; with --dry-run it then stops.

    Exit codes: 0 all deployed, 3 configuration, 4 authentication, 5 server
    unreachable, 6 deployment failed, 7 some of several failed.
    """
    if tag and git_tag:
        raise click.UsageError("give --tag or --git-tag, not both")
    project, chosen = choose(selection)
    if selection.everything and not include_protected:
        chosen = _without_protected(chosen, output)
    for odd in project.odd_lines(chosen):
        output.warn(odd)
    plan = make_plan(project, chosen, commit_of(project.folder) if git_tag else tag)
    deployment = _Deployment(
        project,
        plan,
        output,
        selection.limit_s,
        deploy_limit_s,
        no_logs,
        BuildOptions(skip_build, no_cache, pull),
    )
    run(lambda reactor: deployment.carry_out(reactor, dry_run))
    problems = [one.problem for one in plan if one.problem is not None]
    if output.as_json:
        told = plan_json if dry_run and not problems else _report
        output.json([told(one) for one in plan])
    if len(plan) > 1 and problems:
        output.error(f"{len(problems)} of {len(plan)} targets failed:")
        for one in plan:
            if one.problem is not None:
                output.problem(one.problem, one.selected.name)
    elif problems and not deployment.told:
        output.problem(problems[0])
    raise SystemExit(exit_code_of_several(problems, len(plan)))


def commit_of(folder: Path) -> str:
    """Return the commit that C{folder} is at, with C{-dirty} where it has changed.

    @raise HaloyError: it is no work tree of git.
    """
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise HaloyError("git is not installed, and --git-tag asks it") from None
    if done.returncode:
        raise HaloyError(f"--git-tag: {done.stderr.strip() or 'git fails'}")
    return done.stdout.strip()


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


def _report(one: Planned) -> dict[str, Any]:
    return {
        "target": one.selected.name,
        "app": one.selected.app,
        "server": one.selected.server,
        "deploymentId": one.deployment,
        "ok": one.problem is None,
        "error": None if one.problem is None else str(one.problem),
        "code": None if one.problem is None else one.problem.code,
    }


# --- carrying out ---------------------------------------------------------------


@define(eq=False)
class _Deployment:
    """One run over all its targets; problems stay with their targets.

    @ivar told: whether the server has told already why it failed.
    """

    _project: Project
    _plan: list[Planned]
    _output: Output
    _limit_s: float
    _deploy_limit_s: float
    _no_logs: bool
    _building: BuildOptions
    told: bool = False

    async def carry_out(self, reactor: Any, dry_run: bool) -> None:
        """Ask the servers, show the plan, build, and deploy."""
        servers = await self._connect(reactor)
        if any(one.problem for one in self._plan):
            return  # nothing is built or sent before every server has answered
        for one in self._plan:
            check_capabilities(
                self._project, one, servers[one.selected.server].capabilities
            )
        await together(self._compare(servers, one) for one in self._plan)
        show_plan(self._plan, self._output)
        if dry_run:
            return
        await provide_images(
            reactor, self._project, self._plan, servers, self._output, self._building
        )
        if all(one.problem for one in self._plan):
            return
        self._global_hooks("global_pre_deploy")
        groups: dict[str, list[Planned]] = {}
        for one in self._plan:
            groups.setdefault(one.selected.server, []).append(one)
        with Board(self._output, len(self._plan) > 1) as board:
            for found in await together(
                self._deploy_group(reactor, servers[name], group, board)
                for name, group in groups.items()
            ):
                if isinstance(found, HaloyError):
                    raise found
        if not any(one.problem for one in self._plan):
            self._global_hooks("global_post_deploy")

    async def _connect(self, reactor: Any) -> dict[str, Destination]:
        """Return the servers; who does not answer is the problem of its targets."""
        chosen = by_server([one.selected for one in self._plan])

        async def ask(name: str) -> Destination:
            client = client_for(reactor, self._project, chosen[name][0], self._limit_s)
            version = await client.version()
            return Destination(
                client, name, frozenset(version.get("capabilities") or ())
            )

        found = await together(ask(name) for name in chosen)
        answers = dict(zip(chosen, found, strict=True))
        for one in self._plan:
            answer = answers[one.selected.server]
            if isinstance(answer, HaloyError):
                one.problem = answer
        failed = failed_of(found)
        if failed:
            for one in self._plan:
                one.problem = one.problem or HaloyError(
                    "not deployed: another server does not answer"
                )
        return {
            name: one for name, one in answers.items() if isinstance(one, Destination)
        }

    async def _compare(self, servers: dict[str, Destination], one: Planned) -> None:
        """Find out what runs, as far as the server says."""
        client = servers[one.selected.server].client
        try:
            status = await client.status(one.selected.app)
        except NotFound:
            one.running = ""
            return
        one.running = str(status.get("deploymentId") or "")
        if not one.running or "replicas" not in status:
            return  # a daemon that tells no more
        detail = await client.deployment(one.selected.app, one.running)
        if detail.get("config"):
            one.before = target_from_json(detail["config"], "config")

    def _global_hooks(self, key: str) -> None:
        hooks = getattr(self._project.file, key)
        run_hooks(hooks, key, self._project.folder, {}, self._output)

    async def _deploy_group(
        self, reactor: Any, to: Destination, group: list[Planned], board: Board
    ) -> None:
        """Deploy the targets of one server, one after another."""
        for one in group:
            if one.problem is not None:
                continue
            name = one.selected.name
            board.begin(name, f"→ {to.server}")
            try:
                await self._deploy(reactor, to.client, one, board)
            except HaloyError as problem:
                one.problem = problem
            finally:
                board.end(name)

    async def _deploy(
        self, reactor: Any, client: Any, one: Planned, board: Board
    ) -> None:
        name = one.selected.name
        prefix = name if len(self._plan) > 1 else ""
        await self._hooks(one, "pre_deploy", prefix, board)
        await client.deploy(deploy_body(self._project.file, one))
        self._output.info(f"Deployment {one.deployment} started", prefix)
        if self._no_logs:
            return

        def show(entry: dict[str, Any]) -> None:
            self.told = self.told or bool(entry.get("isDeploymentFailed"))
            board.entry(name, entry)

        await follow(reactor, client, one.deployment, self._deploy_limit_s, show)
        await self._hooks(one, "post_deploy", prefix, board)

    async def _hooks(self, one: Planned, key: str, prefix: str, board: Board) -> None:
        hooks = getattr(one.resolved, key)
        if not hooks:
            return
        variables = {
            "HALOY_APP_NAME": one.selected.app,
            "HALOY_DEPLOYMENT_ID": one.deployment,
            "HALOY_TARGET": one.selected.name,
            "HALOY_SERVER": one.selected.server,
        }
        folder = self._project.folder
        if prefix:  # other servers go on meanwhile
            await deferToThread(
                run_hooks, hooks, key, folder, variables, self._output, prefix
            )
            return
        board.pause()
        try:
            run_hooks(hooks, key, folder, variables, self._output)
        finally:
            board.resume()
