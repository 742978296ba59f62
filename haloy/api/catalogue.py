"""Every route: who may call it, what it takes, what it answers. Pure.

The description of the API and the table of tests are made from this; a test holds it
to the routes that are served.
"""

from __future__ import annotations

from attrs import frozen

from haloy.api import bodies, shapes


@frozen
class Query:
    """One parameter of a query; C{kind} is a JSON type."""

    name: str
    text: str
    kind: str = "string"


@frozen
class Route:
    """One route.

    @ivar scope: what a token must allow; C{""}: any token; C{None}: no token is asked.
    @ivar answer: C{None}: no body.
    @ivar refusals: statuses beside 400, 401, 403 and 429.
    @ivar stream: what one event of its stream is.
    @ivar raw: what kind of body it takes that is no JSON.
    @ivar upgrade: what the connection becomes.
    @ivar needs_docker: 503 while Docker is away.
    """

    method: str
    path: str
    text: str
    scope: str | None
    status: int = 200
    body: type | None = None
    answer: type | None = None
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()
    stream: type | None = None
    raw: str = ""
    upgrade: str = ""
    needs_docker: bool = False


_ALL = Query("allContainers", "All containers of the app.", "boolean")
_CONTAINER = Query("containerId", "One container, by id or its beginning.")
_SEEN = Query("Last-Event-ID", "Go on behind the event of this number.", "integer")
_LIMIT = Query("limit", "At most so many.", "integer")

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", "Does haloyd run?", None, answer=shapes.Health),
    Route(
        "GET",
        "/health/ready",
        "Does everything work?",
        None,
        answer=shapes.Ready,
        refusals=(503,),
    ),
    Route(
        "GET",
        "/metrics",
        "OpenMetrics; from another machine with a `read` token.",
        None,
        refusals=(401, 403, 404, 429),
    ),
    Route("GET", "/v1/openapi.json", "This description.", None),
    Route("GET", "/v1/version", "Version and capabilities.", "", answer=shapes.Version),
    Route(
        "POST",
        "/v1/deploy",
        "Deploy. The same id with the same body is one deployment.",
        "deploy",
        202,
        bodies.DeployBody,
        refusals=(409, 503),
    ),
    Route(
        "GET",
        "/v1/deploy/{deployment}/logs",
        "Follow a deployment to its end.",
        "read",
        stream=shapes.LogLine,
        headers=(_SEEN,),
    ),
    Route(
        "GET",
        "/v1/deployments",
        "List deployments, newest first.",
        "read",
        answer=shapes.Deployments,
        query=(
            Query("app", "Only of this app."),
            _LIMIT,
            Query("before", "Only those with a smaller `seq`.", "integer"),
        ),
    ),
    Route(
        "GET",
        "/v1/deployments/{app}/{deployment}",
        "One deployment, and what it changed.",
        "read",
        answer=shapes.DeploymentDetail,
        refusals=(404,),
    ),
    Route(
        "POST",
        "/v1/deployments/{app}/{deployment}/cancel",
        "Cancel a deployment that waits for its turn.",
        "deploy",
        202,
        refusals=(404, 409),
    ),
    Route(
        "GET",
        "/v1/rollback/{app}",
        "List what an app can go back to.",
        "read",
        answer=shapes.RollbackTargets,
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/rollback",
        "Go back to a deployment that has served.",
        "deploy",
        202,
        bodies.RollbackBody,
        refusals=(404, 409, 503),
    ),
    Route(
        "GET", "/v1/apps", "All apps.", "read", answer=shapes.Apps, needs_docker=True
    ),
    Route(
        "GET",
        "/v1/status/{app}",
        "How an app is.",
        "read",
        answer=shapes.AppStatus,
        refusals=(404,),
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/stop/{app}",
        "Stop an app.",
        "deploy",
        202,
        query=(
            Query("remove-containers", "Remove its containers too.", "boolean"),
            Query("remove-volumes", "And the volumes made for it.", "boolean"),
        ),
        refusals=(404, 409),
        needs_docker=True,
    ),
    Route(
        "GET",
        "/v1/logs/{app}",
        "What an app's containers write.",
        "read",
        query=(
            Query("tail", "So many of the last lines; 100.", "integer"),
            Query("since", "Only lines since this time, in seconds of the epoch."),
            _CONTAINER,
            _ALL,
            Query("follow", "`false`: end after the tail.", "boolean"),
        ),
        refusals=(404,),
        stream=shapes.ContainerLine,
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/exec/{app}",
        "Run a command without input.",
        "exec",
        body=bodies.ExecBody,
        answer=shapes.ExecResults,
        refusals=(404,),
        needs_docker=True,
    ),
    Route(
        "GET",
        "/v1/exec/{app}",
        "Run a command with input, by WebSocket.",
        "exec",
        101,
        refusals=(404,),
        upgrade="websocket",
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/tunnel/{app}",
        "A TCP connection to a container.",
        "exec",
        101,
        query=(
            Query("port", "The app's own when it is left out."),
            Query("container", "One container, by id or its beginning."),
        ),
        refusals=(404, 502),
        upgrade="tcp",
        needs_docker=True,
    ),
    Route(
        "GET",
        "/v1/server-logs",
        "The daemon's own log.",
        "admin",
        query=(Query("access-logs", "Requests too.", "boolean"),),
        stream=shapes.LogLine,
    ),
    Route(
        "GET",
        "/v1/events",
        "What happens: deployments, health, certificates.",
        "read",
        query=(Query("app", "Only what concerns this app."),),
        headers=(_SEEN,),
        stream=shapes.Event,
    ),
    Route(
        "POST",
        "/v1/images/disk-space-check",
        "Would an upload find room?",
        "deploy",
        body=bodies.SpaceBody,
        answer=shapes.Room,
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/images/prune",
        "Remove old images of an app, or tell which they would be.",
        "deploy",
        body=bodies.PruneBody,
        answer=shapes.Pruned,
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/images/upload",
        "Send a whole `docker save` archive, field `image`, named `*.tar`.",
        "deploy",
        202,
        answer=shapes.Loaded,
        refusals=(413, 507),
        raw="multipart/form-data",
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/images/layers/check",
        "Which layers are here?",
        "deploy",
        body=bodies.DigestsBody,
        answer=shapes.LayersFound,
    ),
    Route(
        "POST",
        "/v1/images/layers",
        "Send one layer.",
        "deploy",
        201,
        answer=shapes.LayerKept,
        headers=(Query("X-Layer-Digest", "`sha256:` and the digest of the body."),),
        refusals=(413, 507),
        raw="application/octet-stream",
    ),
    Route(
        "POST",
        "/v1/images/layers/assemble",
        "Put an image together from layers that are here.",
        "deploy",
        body=bodies.AssembleBody,
        answer=shapes.Loaded,
        refusals=(404, 409, 507),
        needs_docker=True,
    ),
    Route(
        "GET",
        "/v1/registries",
        "The server's registry logins.",
        "admin",
        answer=shapes.RegistryLogins,
    ),
    Route(
        "POST",
        "/v1/registries/login",
        "Try a login and keep it.",
        "admin",
        body=bodies.LoginBody,
        answer=shapes.RegistryLogin,
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/registries/logout",
        "Forget a login.",
        "admin",
        204,
        bodies.LogoutBody,
        refusals=(404,),
    ),
    Route("GET", "/v1/tokens", "The tokens.", "admin", answer=shapes.Tokens),
    Route(
        "POST",
        "/v1/tokens",
        "Make a token.",
        "admin",
        201,
        bodies.TokenBody,
        shapes.NewToken,
        refusals=(409,),
    ),
    Route(
        "POST",
        "/v1/tokens/{name}/revoke",
        "Revoke a token; its open streams and tunnels end.",
        "admin",
        204,
        refusals=(404,),
    ),
    Route(
        "GET",
        "/v1/audit",
        "What was done, by whom, newest first.",
        "admin",
        answer=shapes.Actions,
        query=(_LIMIT,),
    ),
    Route(
        "GET",
        "/v1/certificates",
        "How it stands with every name.",
        "read",
        answer=shapes.Certificates,
        needs_docker=True,
    ),
    Route(
        "GET",
        "/v1/certificates/{name}",
        "How it stands with one name.",
        "read",
        answer=shapes.Certificate,
        refusals=(404,),
        needs_docker=True,
    ),
    Route(
        "POST",
        "/v1/certificates/{name}",
        "Serve a certificate of one's own.",
        "deploy",
        body=bodies.PemBody,
        answer=shapes.Certificate,
        refusals=(503,),
    ),
    Route(
        "POST",
        "/v1/certificates/{name}/renew",
        "Order one now.",
        "deploy",
        202,
        answer=shapes.Certificate,
        refusals=(404, 409),
        needs_docker=True,
    ),
)
