"""What one part tells another: verdicts, tables, certificates, whom to watch.

The parts do not know each other; L{haloy.daemon.assemble} gives them these methods to
call, and names them here when all of them are made.
"""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger

from haloy.api.events import EventFeed
from haloy.certs.interface import CertificateStatus
from haloy.certs.renewal import CertificateService
from haloy.daemon.intents import Intents
from haloy.daemon.routing import Routing
from haloy.daemon.snapshot import SnapshotWriter
from haloy.errors import HaloyError
from haloy.health.monitor import Monitor, Watched
from haloy.model.app import App, Assessment, Verdict
from haloy.tasks import Tasks


@define(eq=False, slots=False)
class News:
    """Passes it on; what is of interest to people is written as an event, too.

    @ivar _admitted: the containers that are served.
    @ivar _watched: app and name of each container that is watched.
    """

    _happened: EventFeed
    _snapshot: SnapshotWriter
    _log: Logger = field(factory=Logger, init=False)
    _telling: Tasks = field(init=False)
    _admitted: frozenset[str] = field(default=frozenset(), init=False)
    _watched: dict[str, tuple[str, str]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Own what is being written."""
        self._telling = Tasks(self._log)

    def connect(
        self, routing: Routing, monitor: Monitor, certificates: CertificateService
    ) -> None:
        """Know whom to tell."""
        self._routing, self._monitor = routing, monitor
        self._certificates = certificates
        certificates.on_change(self.certificate_changed)

    async def stop(self) -> None:
        """Write what is served, and no more."""
        await self._snapshot.stop()
        await self._telling.stop()

    def routes_changed(self, intents: Intents) -> None:
        """Keep what is served, want certificates for it, note who was found fit."""
        for key in intents.admitted.keys() - self._admitted:
            app = intents.apps.get(intents.admitted[key].app)
            if app is not None and app.domains:  # a worker is never asked
                self._monitor.admitted(key)
        self._admitted = frozenset(intents.admitted)
        self._snapshot.save(intents)
        self._certificates.want(intents.domains())

    async def routes_kept(self) -> None:
        """Return when the next start knows what is served."""
        await self._snapshot.kept()

    def judged(self, container: str, assessment: Assessment) -> None:
        """Route by a verdict."""
        if assessment.verdict is not Verdict.UNKNOWN:
            self._routing.judge(container, assessment.verdict)
        app, name = self._watched.get(container, ("", container[:12]))
        self._tell("health", app, name, assessment.verdict.value, assessment.reason)

    def certificate_changed(self, status: CertificateStatus) -> None:
        """Tell those who follow the events."""
        owners = (
            name
            for name, app in self._routing.intents.apps.items()
            if status.name in {domain.canonical for domain in app.domains}
        )
        app = next(owners, "")
        self._tell("certificate", app, status.name, status.state, status.reason)

    def watch(self, apps: tuple[App, ...]) -> None:
        """Watch every replica that can be asked by HTTP."""
        self._watched = {
            replica.container_id: (app.name, replica.name)
            for app in apps
            for replica in app.replicas
        }
        self._monitor.watch(
            Watched(replica.container_id, replica.address, app.health, replica.told)
            for app in apps
            for replica in app.replicas
            if app.domains and replica.address is not None
        )

    def _tell(self, kind: str, app: str, subject: str, state: str, reason: str) -> None:
        """Write an event beside what goes on."""

        async def write() -> None:
            try:
                await self._happened.tell(kind, app, subject, state, reason)
            except HaloyError as problem:
                self._log.warn(
                    "an event of {subject} is not kept: {problem}",
                    subject=subject,
                    problem=str(problem),
                )

        self._telling.start("writing an event", write())
