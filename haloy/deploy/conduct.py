"""From the queue to the end marker: begins a deployment, records how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from haloy.config.wire import target_from_json
from haloy.deploy.aftercare import Aftercare
from haloy.deploy.containers import strategy_of
from haloy.deploy.discovery import describe
from haloy.deploy.failure import as_told
from haloy.deploy.images import keeps_history
from haloy.deploy.interface import DeploymentState
from haloy.deploy.progress import Progress, Tools
from haloy.deploy.repair import Repair
from haloy.deploy.retention import apply_retention
from haloy.deploy.rollback import shared_rows
from haloy.deploy.run import DeploymentRun
from haloy.deploy.situation import Situation
from haloy.errors import Conflict, DeployFailed, HaloyError
from haloy.model.app import App
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import DrainLimits
from haloy.store import deployments as rows
from haloy.store.deployments import UNFINISHED, DeploymentRow
from haloy.tasks import Tasks

RECORD_RETRY_S = 5.0

#: What the end marker says, by the code of the failure; of all others: "failed".
_VERBS = {
    "superseded": "was superseded",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted",
}


@define(eq=False)
class Conductor:
    """Carries out what the queue gives it, each deployment to its end marker.

    @ivar _went_live: told of an app with the replicas that serve it from now on.
    @ivar _ended: called with the app after each.
    """

    _tools: Tools
    _aftercare: Aftercare
    _repair: Repair
    _went_live: Callable[[App], None]
    _ended: Callable[[AppName], None]
    _log: Logger = field(factory=Logger, init=False)
    _running: dict[AppName, Progress] = field(factory=dict, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own what goes on after a deployment."""
        self._tasks = Tasks(self._log)

    def progress(self, app: AppName) -> Progress | None:
        """Return the deployment of C{app} that runs now."""
        return self._running.get(app)

    async def stop(self) -> None:
        """Go on with nothing."""
        await self._tasks.stop()

    async def interrupted(self, app: AppName, identifier: DeploymentId) -> None:
        """Record that haloyd stopped while a deployment was under way.

        One that had failed by then, and was on its way back, has failed.
        """
        noted = await self._noted_failure(app, identifier)
        if noted is not None:
            await self._end(app, identifier, DeploymentState.FAILED, noted)
            return
        await self._end(
            app,
            identifier,
            DeploymentState.INTERRUPTED,
            DeployFailed(
                "haloyd was stopped before the deployment was finished; "
                "the version before it serves on. Deploy again",
                failure="interrupted",
            ),
        )

    async def _noted_failure(
        self, app: AppName, identifier: DeploymentId
    ) -> DeployFailed | None:
        try:
            row = await self._tools.database.run(rows.find_deployment, app, identifier)
        except HaloyError:
            return None
        if row is None or not row.failure:
            return None
        return DeployFailed(row.reason, failure=row.failure)

    async def supersede(
        self,
        app: AppName,
        identifier: DeploymentId,
        reason: str,
        failure: str = "superseded",
    ) -> None:
        """Record that a deployment never began, and why.

        @param failure: C{superseded} by a newer one, or C{cancelled} by somebody.
        """
        problem = DeployFailed(reason, failure=failure)
        await self._end(app, identifier, DeploymentState.SUPERSEDED, problem)

    async def carry_out(self, app: AppName, identifier: DeploymentId) -> None:
        """Do one deployment; its end is recorded whatever happens."""
        try:
            row = await self._tools.database.run(rows.find_deployment, app, identifier)
            if row is not None and row.state in UNFINISHED:
                await self._deploy(row)
        except CancelledError:
            await self.interrupted(app, identifier)
            raise
        except Exception as problem:
            if not isinstance(problem, HaloyError):
                self._log.failure("deployment {id} of {app}", id=identifier, app=app)
            await self._end(app, identifier, DeploymentState.FAILED, as_told(problem))
        finally:
            self._running.pop(app, None)
            self._ended(app)

    async def _deploy(self, row: DeploymentRow) -> None:
        progress = await self._begin(row)
        self._running[row.app] = progress
        run = DeploymentRun(self._tools, progress)
        await run.carry_out()
        try:
            await self._go_live(progress)
        except CancelledError:
            raise
        except Exception as problem:
            await run.undo(problem)
            raise

    async def _begin(self, row: DeploymentRow) -> Progress:
        target = target_from_json(row.target)
        now = await self._repair.settle(row.app)
        refuse_manual(row.app, now)
        self._tools.journal.say(
            row.app,
            row.id,
            f"Deploying {row.app}",
            {"strategy": strategy_of(target).value},
        )
        if now.wanted is None or now.wanted.stopped:
            return Progress(row, target, None, ())
        going = self._aftercare.draining
        old = tuple(
            one
            for one in now.ours
            if one.labels.deployment == now.wanted.active
            and one.container.id not in going
        )
        return Progress(row, target, describe(old, now.wanted.active), old)

    async def _go_live(self, progress: Progress) -> None:
        row, app = progress.row, progress.app
        self._tell_of_certificates(progress)
        end = self._tools.journal.line(
            row.app,
            row.id,
            "INFO",
            f"Deployed {row.app}",
            {"replicas": str(len(progress.new))},
            tuple(domain.canonical for domain in app.domains),
            complete=True,
        )
        shared = (
            shared_rows(row, progress.image) if keeps_history(progress.image) else None
        )
        old = [one.container.id for one in progress.old]
        await self._tools.database.run(rows.go_live, row, old, end, shared)
        self._tools.journal.wake()
        self._went_live(evolve(app, replicas=tuple(progress.new.values())))
        options = (progress.old_app or app).proxy
        self._aftercare.begin(
            progress.old_replicas(tuple(old)),
            DrainLimits(options.drain_requests_s, options.drain_tunnels_s),
        )
        self._tasks.start(
            f"removing old images of {row.app}",
            apply_retention(
                self._tools.engine, self._tools.database, row.app, progress.image
            ),
        )

    def _tell_of_certificates(self, progress: Progress) -> None:
        """Say which are not there; no trouble with them fails a deployment (D6)."""
        row, names = progress.row, self._tools.names
        if names is None:
            return
        try:
            missing = names.missing(progress.app.domains)
        except Exception:
            self._log.failure("looking for the certificates of {app}", app=row.app)
            return
        for level, text in missing:
            self._tools.journal.say(row.app, row.id, text, level=level)

    async def _end(
        self,
        app: AppName,
        identifier: DeploymentId,
        state: DeploymentState,
        problem: DeployFailed,
    ) -> None:
        """Record how a deployment ended without going live, and its end marker.

        A database that takes nothing now is tried again; who follows is told anyway.
        What a deployment is, is not read: that may be just what failed.
        """
        failure, reason, logs = problem.failure, problem.reason, problem.logs
        line = self._tools.journal.line(
            app,
            identifier,
            "ERROR",
            f"Deployment of {app} {_VERBS.get(failure, 'failed')}",
            {
                "error": reason,
                "code": failure,
                "logs": f"\n{logs}" if logs else "",
            },
            complete=True,
            failed=True,
        )

        async def record() -> None:
            await self._tools.database.run(
                rows.end_dead, state.value, failure, reason, line
            )

        try:
            await record()
            self._tools.journal.wake()
        except HaloyError as trouble:
            self._log.error(
                "the end of deployment {id} of {app} is not recorded yet: {problem}",
                id=identifier,
                app=app,
                problem=str(trouble),
            )
            self._tools.journal.unwritten(line)
            self._tasks.start(
                "recording the end of a deployment",
                self._retry(app, identifier, record),
            )

    async def _retry(
        self,
        app: AppName,
        identifier: DeploymentId,
        record: Callable[[], Awaitable[None]],
    ) -> None:
        while True:
            await deferLater(self._tools.clock, RECORD_RETRY_S)
            try:
                await record()
            except HaloyError:
                continue
            self._tools.journal.written(app, identifier)
            return


def refuse_manual(app: AppName, now: Situation) -> None:
    """@raise Conflict: the app's containers were made by others (D18)."""
    manual = [one.container.name for one in now.members if one.running and not one.ours]
    if manual:
        raise Conflict(
            f"app {app} is served by {', '.join(manual)}, which was not made by "
            "haloy; stop and remove it first, or deploy under another name"
        )
