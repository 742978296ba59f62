"""C{haloy rollback} and C{haloy rollback-targets}."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click
from attrs import define, field, frozen

from haloy.cli.ages import ago
from haloy.cli.answers import tell_answers
from haloy.cli.asking import confirm
from haloy.cli.context import Project, Selected, choose, client_for, failed_of
from haloy.cli.exits import exit_code_of_several
from haloy.cli.follow import Board, deploy_limit_option, follow
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.config.app_file import AppFile
from haloy.config.capabilities import sendable, usable_providers, without_unknown
from haloy.config.interpolate import interpolate
from haloy.config.merge import targets as merged_targets
from haloy.config.secrets import Secrets
from haloy.config.wire import app_file_from, target_to_json
from haloy.errors import HaloyError, NotFound
from haloy.model.names import deployment_time, new_deployment_id


@click.command("rollback-targets")
@app_options
@output_options
def rollback_targets_(selection: Selection, output: Output) -> None:
    """List the deployments that the app can be rolled back to."""
    project, chosen = choose(selection)

    async def ask(reactor: Any) -> list[list[dict[str, Any]] | HaloyError]:
        return await together(
            client_for(reactor, project, one, selection.limit_s).rollback_targets(
                one.app
            )
            for one in chosen
        )

    def show(one: Selected, found: list[dict[str, Any]], _: str) -> None:
        _show_targets(one, found, selection, output)

    raise SystemExit(
        tell_answers(
            chosen,
            run(ask),
            output,
            _listed,
            show,
            lambda one: {"target": one.name, "app": one.app},
        )
    )


def _listed(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "targets": [
            {"deploymentId": row["DeploymentID"], "image": row["ImageRef"]}
            for row in found
        ],
    }


def _show_targets(
    one: Selected, kept: list[dict[str, Any]], selection: Selection, output: Output
) -> None:
    if not kept:
        output.info(f"{one.app} has no deployment to go back to")
        return
    output.info(f"{one.app} on {one.server}")
    output.table(
        ["DEPLOYMENT ID", "IMAGE REFERENCE", "DATE"],
        [[row["DeploymentID"], row["ImageRef"], _date(row)] for row in kept],
    )
    newest = kept[0]["DeploymentID"]
    output.info(f"Go back with: haloy rollback{selection.again} {newest}")


# --- rolling back -----------------------------------------------------------------


@click.command("rollback")
@click.argument("deployment", required=False)
@app_options
@click.option("--no-logs", is_flag=True, help="Return once the server has accepted it.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@deploy_limit_option("the rollback")
@output_options
def rollback_(
    deployment: str | None,
    selection: Selection,
    no_logs: bool,
    yes: bool,
    deploy_limit_s: float,
    output: Output,
) -> None:
    """Go back to DEPLOYMENT, or to the one before the current one.

    In a terminal it asks first; elsewhere, or with --yes, it begins at once.
    """
    project, chosen = choose(selection)
    work = _Rollback(project, chosen, output, selection.limit_s, deploy_limit_s)
    ask = sys.stdin.isatty() and not yes and not output.as_json
    answers = run(lambda reactor: work.carry_out(reactor, deployment, ask, no_logs))
    problems = failed_of(answers)
    if output.as_json:
        output.json(
            [_report(one, found) for one, found in zip(chosen, answers, strict=True)]
        )
    for one, found in zip(chosen, answers, strict=True):
        if isinstance(found, HaloyError) and (len(chosen) > 1 or not work.told):
            output.problem(found, one.name if len(chosen) > 1 else "")
    raise SystemExit(exit_code_of_several(problems, len(chosen)))


def _report(one: Selected, found: Any) -> dict[str, Any]:
    failed = isinstance(found, HaloyError)
    return {
        "target": one.name,
        "app": one.app,
        "server": one.server,
        "rolledBackTo": None if failed else found.to,
        "deploymentId": None if failed else found.new,
        "ok": not failed,
        "error": str(found) if failed else None,
        "code": found.code if failed else None,
    }


@frozen
class _Done:
    to: str
    new: str


@frozen
class _Way:
    """One target's way back.

    @ivar leaves: the domains and aliases that are served now, and then no more.
    """

    one: Selected
    client: Any
    row: dict[str, Any]
    capabilities: frozenset[str]
    leaves: tuple[str, ...]


@define(eq=False)
class _Rollback:
    """One run over all targets.

    @ivar told: whether the server has told already why it failed.
    """

    _project: Project
    _chosen: list[Selected]
    _output: Output
    _limit_s: float
    _deploy_limit_s: float
    told: bool = field(default=False, init=False)

    async def carry_out(
        self, reactor: Any, deployment: str | None, ask: bool, no_logs: bool
    ) -> list[_Done | HaloyError]:
        """Find out where to go back to, ask, and go; what comes of each target."""
        ways = await together(
            self._find(reactor, one, deployment) for one in self._chosen
        )
        found = [way for way in ways if not isinstance(way, HaloyError)]
        for way in found:
            self._output.info(
                f"{way.one.app} on {way.one.server} goes back to "
                f"{way.row['DeploymentID']} ({way.row['ImageRef']}, {_date(way.row)})"
            )
            if way.leaves:
                self._output.warn(
                    f"{', '.join(way.leaves)}: not served after that; "
                    f"{way.row['DeploymentID']} has no such domain"
                )
        if found and ask:
            confirm("Go back?")
        with Board(self._output, len(self._chosen) > 1) as board:
            return await together(
                self._go(reactor, way, board, no_logs) for way in ways
            )

    async def _find(self, reactor: Any, one: Selected, deployment: str | None) -> _Way:
        client = client_for(reactor, self._project, one, self._limit_s)
        kept = await client.rollback_targets(one.app)
        row = next(
            (row for row in kept if deployment in (None, row["DeploymentID"])), None
        )
        if row is None:
            raise NotFound(
                f"{one.app} cannot go back to {deployment or 'any deployment'}; "
                "`haloy rollback-targets` lists those that are kept"
            )
        version = await client.version()
        known = frozenset(version.get("capabilities") or ())
        try:
            served = (await client.status(one.app)).get("domains") or ()
        except NotFound:
            served = ()  # stopped: nothing of it is served now
        return _Way(one, client, row, known, _left_out(served, row))

    async def _go(
        self, reactor: Any, way: _Way | HaloyError, board: Board, no_logs: bool
    ) -> _Done:
        if isinstance(way, HaloyError):
            raise way
        one, to = way.one, str(way.row["DeploymentID"])
        prefix = one.name if len(self._chosen) > 1 else ""
        new = new_deployment_id(time.time_ns() // 1_000_000, secrets.token_bytes(10))
        config = _config(self._project, one, way.row, way.capabilities)
        await way.client.rollback(
            {
                "targetDeploymentID": to,
                "newDeploymentID": new,
                "newTargetConfig": config,
            }
        )
        self._output.info(f"Rollback to {to} started as {new}", prefix)
        if not no_logs:
            board.begin(one.name, f"→ {one.server}")

            def show(entry: dict[str, Any]) -> None:
                self.told = self.told or bool(entry.get("isDeploymentFailed"))
                board.entry(one.name, entry)

            try:
                await follow(reactor, way.client, new, self._deploy_limit_s, show)
            finally:
                board.end(one.name)
        return _Done(to, new)


def _config(
    project: Project, one: Selected, row: dict[str, Any], known: Collection[str]
) -> dict[str, Any]:
    """Return the stored configuration with today's secrets in it."""
    stored = row.get("RawDeployConfig")
    if not stored:
        raise HaloyError(f"{row['DeploymentID']} has no stored configuration")
    file: AppFile = app_file_from(stored, camel=True)
    target = next(iter(merged_targets(file, (one.server,)).values()))
    providers = usable_providers(file.secret_providers, project.file.secret_providers)
    source = Secrets(project.environment(one.name), providers, project.folder)
    resolved = interpolate(source.resolve(target))
    return target_to_json(without_unknown(sendable(resolved), known))


def _left_out(
    served: Iterable[Mapping[str, Any]], row: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the names of C{served} that the deployment of C{row} does not have."""
    stored = (row.get("RawDeployConfig") or {}).get("domains") or ()
    kept = set(_names(stored))
    return tuple(one for one in _names(served) if one not in kept)


def _names(domains: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for one in domains:
        yield str(one.get("domain"))
        yield from one.get("aliases") or ()


def _date(row: dict[str, Any]) -> str:
    made = deployment_time(row["DeploymentID"])
    if made is None:
        return "N/A"
    return f"{made.astimezone():%Y-%m-%d %H:%M} ({ago(made, datetime.now(UTC))})"
