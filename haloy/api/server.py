"""The HTTP API: routes, who may call them, and what an error looks like.

Wire form: C{spec/api.md}; where ours differs on purpose: C{docs/decisions/}. The
order for every route is headers, authentication, rate, handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from attrs import define, field
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api import schema
from haloy.api.about import version_answer
from haloy.api.access import TokenRoutes
from haloy.api.answers import error_answer, json_answer, respond
from haloy.api.asked import (
    argument,
    choose_containers,
    count,
    flag,
    last_event_id,
    since,
    tail,
)
from haloy.api.bodies import DeployBody, ExecBody, RollbackBody, read_body
from haloy.api.body import read_json
from haloy.api.certificates import CertificateRoutes, certificate_json
from haloy.api.deployments import DeploymentRoutes
from haloy.api.events import EventFeed, EventRoutes
from haloy.api.execution import Executions
from haloy.api.gatekeeper import Gatekeeper
from haloy.api.images import ImageRoutes
from haloy.api.logs import Wanted, container_lines
from haloy.api.metrics import MetricsRoute
from haloy.api.openapi import openapi
from haloy.api.registries import RegistryRoutes
from haloy.api.server_log import Log, follow_log
from haloy.api.spool import Spools
from haloy.api.sse import event
from haloy.api.streaming import EventWriter, Streams, announce
from haloy.api.terminal import check_command
from haloy.api.terminal_server import Terminals
from haloy.api.tunnel import Tunnels
from haloy.certs.interface import Certificates
from haloy.config.validate import validate_received
from haloy.deploy.interface import Deployments, DeployRequest, LogEntry
from haloy.deploy.pruning import Pruning
from haloy.deploy.uploads import ImageUploads
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.names import AppName, DeploymentId, parse_deployment_id
from haloy.proxy.form import form
from haloy.proxy.interface import Program
from haloy.store.registries import RegistryFile

AUDIT_LIMIT = 1000


@define(eq=False)
class Api:
    """The routes; C{resource()} is what a site serves."""

    app = Klein()

    _deployments: Deployments
    _engine: Engine
    _reactor: Any
    _version: str
    _gatekeeper: Gatekeeper
    _ready: Callable[[], Awaitable[schema.Readiness]]
    _generation: Callable[[], int]
    _programs: Callable[[], Awaitable[tuple[Program, ...]]]
    _certificates: Certificates
    _uploads: ImageUploads
    _pruning: Pruning
    _spools: Spools
    _registries: RegistryFile
    _log: Log
    _events: EventFeed
    _metrics: MetricsRoute | None = None
    gate: ImageRoutes = field(init=False)
    _image_resource: Any = field(init=False)
    _registry_resource: Any = field(init=False)
    _token_resource: Any = field(init=False)
    _certificate_resource: Any = field(init=False)
    _deployment_resource: Any = field(init=False)
    _event_resource: Any = field(init=False)
    _metrics_resource: Any = field(init=False)
    _tunnels: Tunnels = field(init=False)
    _terminals: Terminals = field(init=False)
    _executions: Executions = field(init=False)
    _streams: Streams = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Mount the routes of images."""
        self.gate = ImageRoutes(
            self._uploads, self._pruning, self._spools, self._gatekeeper
        )
        self._image_resource = self.gate.app.resource()
        self._tunnels = Tunnels(self._engine, self._reactor)
        self._terminals = Terminals(self._engine, self._reactor)
        self._executions = Executions(self._engine)
        self._streams = Streams(self._reactor, self._gatekeeper)
        registries = RegistryRoutes(self._engine, self._registries, self._gatekeeper)
        self._registry_resource = registries.app.resource()
        self._token_resource = TokenRoutes(self._gatekeeper).app.resource()
        certificates = CertificateRoutes(
            self._certificates, self._deployments, self._gatekeeper
        )
        self._certificate_resource = certificates.app.resource()
        deployments = DeploymentRoutes(self._deployments, self._gatekeeper)
        self._deployment_resource = deployments.app.resource()
        events = EventRoutes(self._events, self._streams, self._gatekeeper)
        self._event_resource = events.app.resource()
        metrics = self._metrics or MetricsRoute(self._gatekeeper)
        self._metrics_resource = metrics.app.resource()

    def resource(self) -> Any:
        """Return the resource to serve; large bodies go through C{gate}."""
        return self.app.resource()

    async def end_commands(self) -> None:
        """Kill the commands in containers, which nobody would end any more (A9)."""
        await self._executions.stop()
        await self._terminals.stop()

    # --- health and version ----------------------------------------------------------

    @app.route("/health", methods=["GET"])
    def health(self, request: IRequest) -> bytes:
        """Say that the daemon runs; never refused."""
        body = {"status": "ok", "version": self._version, "service": "haloyd"}
        return json_answer(request, body)

    @app.route("/health/ready", methods=["GET"])
    async def ready(self, request: IRequest) -> bytes:
        """Say whether everything works, and what does not."""
        found = await self._ready()
        respond(request, 200 if found.ready else 503)
        return json_answer(
            request,
            {
                "ready": found.ready,
                "docker": found.docker or "ok",
                "proxy": found.proxy or "ok",
                "database": found.database or "ok",
                "config": found.config or "ok",
            },
        )

    @app.route("/v1/openapi.json", methods=["GET"])
    def description(self, request: IRequest) -> bytes:
        """Describe the API to machines."""
        return json_answer(request, openapi(self._version))

    @app.route("/v1/version", methods=["GET"])
    async def version(self, request: IRequest) -> bytes:
        """Say which version this is, what it can, and what its proxy runs."""
        self._gatekeeper.authenticate(request)
        serving: tuple[Program, ...] = ()
        trouble = ""
        try:
            serving = await self._programs()
        except HaloyError as problem:
            trouble = str(problem)
        own = Program(self._version, form())
        generation = self._generation()
        return json_answer(request, version_answer(own, serving, trouble, generation))

    @app.route("/metrics", branch=True)
    def metrics(self, request: IRequest) -> Any:
        """Hand over to the route of metrics."""
        return self._metrics_resource

    # --- deployments -----------------------------------------------------------------

    @app.route("/v1/deploy", methods=["POST"])
    async def deploy(self, request: IRequest) -> bytes:
        """Take a deployment."""
        caller = self._gatekeeper.admit_some(request, "deploy")
        body = read_body(read_json(request), DeployBody)
        identifier = parse_deployment_id(body.id)
        caller.require("deploy", body.target.name)
        subject = f"{body.target.name} {identifier}"
        async with self._gatekeeper.audited(caller, "deploy", subject):
            validate_received(body.target)
            await self._deployments.submit(
                DeployRequest(identifier, body.target, body.stored or {}, caller.name)
            )
        return respond(request, 202)

    @app.route("/v1/deploy/<deployment>/logs", methods=["GET"])
    async def deployment_logs(self, request: IRequest, deployment: str) -> None:
        """Stream a deployment's log until its end marker."""
        announce(request)
        caller = self._gatekeeper.admit_some(request, "read")
        after = last_event_id(request) or 0

        async def produce(writer: EventWriter) -> None:
            async def consume(entry: LogEntry) -> None:
                if entry.app:
                    caller.require("read", entry.app)
                await writer.send(event(schema.log_entry(entry), entry.seq))

            await self._deployments.follow(deployment, consume, after)

        await self._streams.send(request, caller, produce)

    @app.route("/v1/rollback/<app_name>", methods=["GET"])
    async def rollback_targets(self, request: IRequest, app_name: str) -> bytes:
        """List what an app can be rolled back to."""
        self._gatekeeper.admit(request, "read", app_name)
        found = await self._deployments.rollback_targets(AppName(app_name))
        return json_answer(request, schema.rollback_targets(found))

    @app.route("/v1/rollback", methods=["POST"])
    async def rollback(self, request: IRequest) -> bytes:
        """Take a rollback."""
        caller = self._gatekeeper.admit_some(request, "deploy")
        body = read_body(read_json(request), RollbackBody)
        caller.require("deploy", body.config.name)
        subject = f"{body.config.name} {body.target}"
        async with self._gatekeeper.audited(caller, "rollback", subject):
            asked = await self._deployments.rollback_request(
                DeploymentId(body.target),
                parse_deployment_id(body.new, "newDeploymentID"),
                body.config,
                caller.name,
            )
            validate_received(asked.target)
            await self._deployments.submit(asked)
        return respond(request, 202)

    # --- apps ------------------------------------------------------------------------

    @app.route("/v1/apps", methods=["GET"])
    async def apps(self, request: IRequest) -> bytes:
        """List all apps with their replicas."""
        caller = self._gatekeeper.admit_some(request, "read")
        found = await self._deployments.apps()
        shown = [schema.app_status(one) for one in found if caller.sees(one.app)]
        return json_answer(request, {"apps": shown})

    @app.route("/v1/status/<app_name>", methods=["GET"])
    async def status(self, request: IRequest, app_name: str) -> bytes:
        """Say how an app is."""
        self._gatekeeper.admit(request, "read", app_name)
        found = await self._deployments.status(AppName(app_name))
        answer = schema.app_status(found)
        names = {domain.canonical for domain in found.domains}
        answer["certificates"] = [
            certificate_json(one)
            for one in self._certificates.status()
            if one.name in names
        ]
        return json_answer(request, answer)

    @app.route("/v1/stop/<app_name>", methods=["POST"])
    async def stop(self, request: IRequest, app_name: str) -> bytes:
        """Stop an app, on wish with its containers and volumes."""
        caller = self._gatekeeper.admit(request, "deploy", app_name)
        remove = flag(request, "remove-containers")
        volumes = flag(request, "remove-volumes")
        async with self._gatekeeper.audited(caller, "stop", app_name):
            await self._deployments.stop_app(AppName(app_name), remove, volumes)
        return respond(request, 202)

    @app.route("/v1/logs/<app_name>", methods=["GET"])
    async def logs(self, request: IRequest, app_name: str) -> None:
        """Stream what an app's containers write."""
        announce(request)
        caller = self._gatekeeper.admit(request, "read", app_name)
        chosen = choose_containers(
            await self._running(app_name),
            argument(request, "containerId"),
            flag(request, "allContainers"),
        )
        wanted = Wanted(
            tail(request),
            argument(request, "follow") != "false",
            since(request),
        )

        async def produce(writer: EventWriter) -> None:
            await container_lines(
                self._engine, chosen, wanted, lambda one: writer.send(event(one))
            )

        await self._streams.send(request, caller, produce)

    @app.route("/v1/exec/<app_name>", methods=["POST"])
    async def exec(self, request: Any, app_name: str) -> bytes:
        """Run a command in an app's containers."""
        caller = self._gatekeeper.admit(request, "exec", app_name)
        body = read_body(read_json(request), ExecBody)
        check_command([*body.command])
        running = await self._running(app_name)
        chosen = choose_containers(running, body.container, body.everywhere)
        request.setHeader("Content-Type", "application/json")
        # The Go client waits 30 s for the head, and a command may take 60.
        request.write(b"")
        subject = f"{app_name} {body.command[0]}"
        async with self._gatekeeper.audited(caller, "exec", subject):
            results = await self._executions.execute(chosen, body.command)
        return json_answer(request, {"results": results}, started=True)

    @app.route("/v1/exec/<app_name>", methods=["GET"])
    async def terminal(self, request: Any, app_name: str) -> None:
        """Run a command with somebody at its input, by WebSocket."""
        caller = self._gatekeeper.admit(request, "exec", app_name)
        running = choose_containers(await self._running(app_name), "", everything=True)

        def audited(command: tuple[str, ...]) -> Any:
            subject = f"{app_name} {command[0]}"
            return self._gatekeeper.audited(caller, "exec.terminal", subject)

        lease = partial(self._gatekeeper.lease, caller)
        await self._terminals.open(request, running, lease, audited)

    @app.route("/v1/tunnel/<app_name>", methods=["POST"])
    async def tunnel(self, request: Any, app_name: str) -> None:
        """Turn the connection into a tunnel to a container."""
        caller = self._gatekeeper.admit(request, "exec", app_name)
        running = await self._running(app_name)
        container = argument(request, "container")
        (chosen,) = choose_containers(running, container, everything=False)
        async with self._gatekeeper.audited(caller, "tunnel", app_name):
            inner = await self._tunnels.connect(chosen, argument(request, "port"))
        lease = partial(self._gatekeeper.lease, caller)
        await self._tunnels.join(request, inner, lease)

    @app.route("/v1/server-logs", methods=["GET"])
    async def server_logs(self, request: IRequest) -> None:
        """Stream the daemon's own log."""
        announce(request)
        caller = self._gatekeeper.admit(request, "admin")
        access = flag(request, "access-logs")

        async def produce(writer: EventWriter) -> None:
            await follow_log(self._log, writer, access)

        await self._streams.send(request, caller, produce)

    async def _running(self, app_name: str) -> list[str]:
        """Return the running containers of an app. @raise NotFound: unknown app."""
        status = await self._deployments.status(AppName(app_name))
        return [one.container_id for one in status.replicas if one.state == "running"]

    # --- the other routes ---------------------------------------------------------

    @app.route("/v1/deployments", branch=True)
    def deployments(self, request: IRequest) -> Any:
        """Hand over to the routes of deployments."""
        return self._deployment_resource

    @app.route("/v1/events", branch=True)
    def events(self, request: IRequest) -> Any:
        """Hand over to the stream of events."""
        return self._event_resource

    @app.route("/v1/tokens", branch=True)
    def tokens(self, request: IRequest) -> Any:
        """Hand over to the routes of tokens."""
        return self._token_resource

    @app.route("/v1/certificates", branch=True)
    def certificates(self, request: IRequest) -> Any:
        """Hand over to the routes of certificates."""
        return self._certificate_resource

    @app.route("/v1/audit", methods=["GET"])
    async def audit(self, request: IRequest) -> bytes:
        """Show what was done, newest first."""
        self._gatekeeper.admit(request, "admin")
        limit = min(count(request, "limit") or 100, AUDIT_LIMIT)
        rows = map(schema.audit_row, await self._gatekeeper.trail(limit))
        return json_answer(request, {"actions": list(rows)})

    @app.route("/v1/registries", branch=True)
    def registries(self, request: IRequest) -> Any:
        """Hand over to the routes of registries."""
        return self._registry_resource

    @app.route("/v1/images/", branch=True)
    def images(self, request: IRequest) -> Any:
        """Hand over to the routes of images."""
        return self._image_resource

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> bytes:
        """Answer with one line of text, never JSON."""
        return error_answer(request, failure)
