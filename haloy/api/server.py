"""The HTTP API: routes, who may call them, and what an error looks like.

Wire form: C{spec/api.md}; where ours differs on purpose: C{docs/decisions/}. The
order for every route is headers, authentication, rate, handler.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from klein import Klein
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from haloy.api import schema
from haloy.api.auth import (
    Caller,
    FailureLimit,
    RateLimit,
    bearer_token,
    matches,
    token_hash,
)
from haloy.api.body import read_json
from haloy.api.logs import container_lines
from haloy.api.sse import event
from haloy.api.streaming import EventWriter, stream_events
from haloy.config.validate import validate_target
from haloy.deploy.interface import Deployments, DeployRequest, LogEntry
from haloy.engine.interface import Engine
from haloy.errors import (
    Conflict,
    EngineUnavailable,
    Forbidden,
    HaloyError,
    InsufficientStorage,
    InvalidValue,
    NotFound,
    StoreError,
    TooMany,
    Unauthorized,
)
from haloy.model.names import AppName

CAPABILITIES = ("blue-green", "resources", "proxy-options", "wildcard-domains")
RATE, BURST = 5.0, 10.0

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cache-Control": "no-store, no-cache, must-revalidate",
}

#: The status of each class of error; the first that fits counts.
_STATUS: tuple[tuple[type[HaloyError], int], ...] = (
    (InvalidValue, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooMany, 429),
    (InsufficientStorage, 507),
    (EngineUnavailable, 503),
    (StoreError, 503),
)


@frozen
class Readiness:
    """What C{/health/ready} tells: each part's trouble, C{""} when it works."""

    docker: str
    proxy: str
    database: str
    config: str

    @property
    def ready(self) -> bool:
        """Whether everything works."""
        return not (self.docker or self.proxy or self.database or self.config)


@define(eq=False)
class Api:
    """The routes; C{resource()} is what a site serves.

    @ivar _certificates: how it stands with certificates, as JSON objects.
    """

    app = Klein()

    _deployments: Deployments
    _engine: Engine
    _reactor: Any
    _version: str
    _token: str = field(repr=lambda _: "***")
    _ready: Callable[[], Awaitable[Readiness]]
    _generation: Callable[[], int]
    _certificates: Callable[[], list[dict[str, Any]]]
    _log: Logger = field(factory=Logger, init=False)
    _failures: FailureLimit = field(factory=FailureLimit, init=False)
    _rate: RateLimit = field(factory=lambda: RateLimit(RATE, BURST), init=False)

    def resource(self) -> Any:
        """Return the resource to serve."""
        return self.app.resource()

    # --- health and version ----------------------------------------------------------

    @app.route("/health", methods=["GET"])
    def health(self, request: IRequest) -> bytes:
        """Say that the daemon runs; never refused."""
        body = {"status": "ok", "version": self._version, "service": "haloyd"}
        return _json(request, body)

    @app.route("/health/ready", methods=["GET"])
    async def ready(self, request: IRequest) -> bytes:
        """Say whether everything works, and what does not."""
        found = await self._ready()
        _respond(request, 200 if found.ready else 503)
        return _json(
            request,
            {
                "ready": found.ready,
                "docker": found.docker or "ok",
                "proxy": found.proxy or "ok",
                "database": found.database or "ok",
                "config": found.config or "ok",
            },
        )

    @app.route("/v1/version", methods=["GET"])
    def version(self, request: IRequest) -> bytes:
        """Say which version this is and what it can."""
        self._caller(request)
        return _json(
            request,
            {
                "haloyd": self._version,
                "haloy_proxy": self._version,
                "haloy_proxy_generation": 1,
                "haloy_proxy_required_generation": 1,
                "haloy_proxy_schema_version": 1,
                "haloy_proxy_required_schema_version": 1,
                "haloy_proxy_compatible": True,
                "haloy_proxy_config_hash": str(self._generation()),
                "capabilities": list(CAPABILITIES),
            },
        )

    # --- deployments -----------------------------------------------------------------

    @app.route("/v1/deploy", methods=["POST"])
    async def deploy(self, request: IRequest) -> bytes:
        """Take a deployment."""
        caller = self._caller(request)
        body = schema.deploy_body(read_json(request))
        validate_target(body.target)
        await self._deployments.submit(
            DeployRequest(body.id, body.target, body.stored, caller.name)
        )
        return _respond(request, 202)

    @app.route("/v1/deploy/<deployment>/logs", methods=["GET"])
    async def deployment_logs(self, request: IRequest, deployment: str) -> None:
        """Stream a deployment's log until its end marker."""
        self._caller(request)
        after = _last_event_id(request)

        async def produce(writer: EventWriter) -> None:
            async def consume(entry: LogEntry) -> None:
                await writer.send(event(schema.log_entry(entry), entry.seq))

            await self._deployments.follow(deployment, consume, after)

        await stream_events(request, self._reactor, produce)

    @app.route("/v1/rollback/<app_name>", methods=["GET"])
    async def rollback_targets(self, request: IRequest, app_name: str) -> bytes:
        """List what an app can be rolled back to."""
        self._caller(request)
        found = await self._deployments.rollback_targets(AppName(app_name))
        return _json(request, schema.rollback_targets(found))

    @app.route("/v1/rollback", methods=["POST"])
    async def rollback(self, request: IRequest) -> bytes:
        """Take a rollback."""
        caller = self._caller(request)
        body = schema.rollback_body(read_json(request))
        asked = await self._deployments.rollback_request(
            body.target, body.new, body.config, caller.name
        )
        validate_target(asked.target)
        await self._deployments.submit(asked)
        return _respond(request, 202)

    # --- apps ------------------------------------------------------------------------

    @app.route("/v1/apps", methods=["GET"])
    async def apps(self, request: IRequest) -> bytes:
        """List all apps with their replicas."""
        self._caller(request)
        found = await self._deployments.apps()
        return _json(request, {"apps": [schema.app_status(one) for one in found]})

    @app.route("/v1/status/<app_name>", methods=["GET"])
    async def status(self, request: IRequest, app_name: str) -> bytes:
        """Say how an app is."""
        self._caller(request)
        found = await self._deployments.status(AppName(app_name))
        answer = schema.app_status(found)
        names = {domain.canonical for domain in found.domains}
        answer["certificates"] = [
            one for one in self._certificates() if one["name"] in names
        ]
        return _json(request, answer)

    @app.route("/v1/stop/<app_name>", methods=["POST"])
    async def stop(self, request: IRequest, app_name: str) -> bytes:
        """Stop an app, on wish with its containers and volumes."""
        self._caller(request)
        remove = _flag(request, "remove-containers")
        volumes = _flag(request, "remove-volumes")
        await self._deployments.stop_app(AppName(app_name), remove, volumes)
        return _respond(request, 202)

    @app.route("/v1/logs/<app_name>", methods=["GET"])
    async def logs(self, request: IRequest, app_name: str) -> None:
        """Stream what an app's containers write."""
        self._caller(request)
        status = await self._deployments.status(AppName(app_name))
        running = [one for one in status.replicas if one.state == "running"]
        chosen = _containers(request, [one.container_id for one in running])
        tail = _tail(request)
        follow = _argument(request, "follow") != "false"

        async def produce(writer: EventWriter) -> None:
            await container_lines(
                self._engine, chosen, tail, follow, lambda one: writer.send(event(one))
            )

        await stream_events(request, self._reactor, produce)

    # --- errors ----------------------------------------------------------------------

    @app.handle_errors(HaloyError)
    def refused(self, request: Any, failure: Any) -> bytes:
        """Answer with one line of text, never JSON (C{spec/api.md} 1.6)."""
        problem: HaloyError = failure.value
        status = next(
            (code for kind, code in _STATUS if isinstance(problem, kind)), 500
        )
        if status == 500:
            self._log.error("{path}: {problem}", path=_path(request), problem=problem)
        if isinstance(problem, TooMany):
            retry = str(max(1, round(problem.retry_after_s)))
            request.setHeader("Retry-After", retry)
        return _text(request, status, str(problem).replace("\n", " "), problem.code)

    @app.handle_errors(HTTPException)
    def unrouted(self, request: Any, failure: Any) -> bytes:
        """Answer for paths and methods that are none of ours (C{spec/api.md} 1.1)."""
        problem: HTTPException = failure.value
        if problem.code == 405:
            allowed = sorted(getattr(problem, "valid_methods", None) or ())
            allowed = [one for one in allowed if one != "OPTIONS"]
            request.setHeader("Allow", ", ".join(allowed))
            return _text(request, 405, "Method Not Allowed")
        if problem.code == 308:
            return _text(request, 404, "404 page not found")
        return _text(request, problem.code or 404, "404 page not found")

    @app.handle_errors(Exception)
    def failed(self, request: Any, failure: Any) -> bytes:
        """Answer for a mistake of ours: the log says more, the client nothing."""
        self._log.failure("{path} failed", failure, path=_path(request))
        return _text(request, 500, "haloyd made a mistake; its log says more", "bug")

    # --- who calls -------------------------------------------------------------------

    def _caller(self, request: IRequest) -> Caller:
        """Return who calls.

        @raise Unauthorized: no valid token.
        @raise TooMany: too many calls, or too many failures from the address.
        """
        for name, value in _SECURITY.items():
            request.setHeader(name, value)
        address = client_address(request)
        now_s = self._reactor.seconds()
        header = request.getHeader("Authorization")
        try:
            valid = matches(bearer_token(header), token_hash(self._token))
        except Unauthorized:
            valid = False
        if not valid:
            self._failures.check(address, now_s)
            self._failures.failed(address, now_s)
            raise Unauthorized("authentication failed: a valid bearer token is needed")
        self._rate.take("admin", now_s)
        return Caller("admin", address)


def client_address(request: Any) -> str:
    """Return where a call comes from.

    Behind the proxy, which reaches us over a unix socket, the last
    C{X-Forwarded-For}; nobody else's header is believed.
    """
    peer = request.getClientAddress()
    host = getattr(peer, "host", None)
    if host is not None:
        return str(host)
    forwarded = request.getHeader("X-Forwarded-For") or ""
    return forwarded.rpartition(",")[2].strip() or "local"


def _json(request: Any, body: Mapping[str, Any]) -> bytes:
    for name, value in _SECURITY.items():
        request.setHeader(name, value)
    request.setHeader("Content-Type", "application/json")
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _respond(request: Any, status: int) -> bytes:
    """Answer with a status and no body."""
    request.setResponseCode(status)
    if status == 202:
        request.responseHeaders.removeHeader("Content-Type")
        request.defaultContentType = None
    return b""


def _text(request: Any, status: int, text: str, code: str = "") -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    if code:
        request.setHeader("X-Haloy-Error", code)
    return f"{text}\n".encode()


def _path(request: Any) -> str:
    return str(request.path.decode(errors="replace"))


def _argument(request: Any, name: str) -> str:
    values = request.args.get(name.encode()) or [b""]
    return str(values[0].decode(errors="replace"))


def _flag(request: Any, name: str) -> bool:
    return _argument(request, name) == "true"


def _tail(request: Any) -> int:
    text = _argument(request, "tail")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
    return number or 100


def _last_event_id(request: Any) -> int:
    text = request.getHeader("Last-Event-ID") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _containers(request: Any, running: list[str]) -> list[str]:
    """Return which containers are meant. @raise NotFound: none of them runs."""
    wanted = _argument(request, "containerId")
    everything = _flag(request, "allContainers")
    if wanted and everything:
        raise InvalidValue(
            "give containerId or allContainers, not both", field="containerId"
        )
    if not running:
        raise NotFound("no container of this app runs")
    if wanted:
        chosen = [one for one in running if one.startswith(wanted)]
        if not chosen:
            raise InvalidValue(
                "is no running container of this app", field="containerId"
            )
        return chosen[:1]
    return running if everything else running[:1]
