"""The API as a client calls it: one object for one server."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from attrs import define
from twisted.internet.interfaces import IProtocol
from twisted.web.http_headers import Headers

from haloy.api.paths import route
from haloy.api.sections import Section, Sections, section_of
from haloy.api.transport import Transport, json_object

if TYPE_CHECKING:
    from haloy.api.terminal import Start
    from haloy.api.terminal_client import TerminalClient

#: Docker takes a while to load a large image.
LOAD_LIMIT_S = 900.0
EXEC_LIMIT_S = 75.0
PRUNE_LIMIT_S = 150.0
REGISTRY_LIMIT_S = 45.0


@define(eq=False)
class ApiClient:
    """What can be asked of one server; failures are those of L{Transport}."""

    transport: Transport

    @property
    def base_url(self) -> str:
        """Where the server is."""
        return self.transport.base_url

    async def version(self) -> dict[str, Any]:
        """Return the server's version and capabilities."""
        return await self.transport.get("/v1/version")

    async def deploy(self, body: Mapping[str, Any]) -> None:
        """Ask for a deployment; the same id twice is one deployment."""
        await self.transport.post("/v1/deploy", body)

    async def rollback(self, body: Mapping[str, Any]) -> None:
        """Ask for a rollback."""
        await self.transport.post("/v1/rollback", body)

    async def rollback_targets(self, app: str) -> list[dict[str, Any]]:
        """Return what C{app} can be rolled back to, newest first."""
        found = await self.transport.get(route("rollback", app))
        return list(found.get("targets") or [])

    async def status(self, app: str) -> dict[str, Any]:
        """Return how C{app} is. @raise NotFound: not deployed."""
        return await self.transport.get(route("status", app))

    async def health(self) -> dict[str, Any]:
        """Return what works on the server and what does not; needs no token."""
        return await self.transport.get("/health/ready", expected=(503,))

    async def apps(self) -> list[dict[str, Any]]:
        """Return all apps; only daemons of ours know this call."""
        found = await self.transport.get("/v1/apps")
        return list(found.get("apps") or [])

    async def stop(self, app: str, remove: bool, remove_volumes: bool) -> None:
        """Stop C{app}."""
        query = {}
        if remove:
            query["remove-containers"] = "true"
        if remove_volumes:
            query["remove-volumes"] = "true"
        path = route("stop", app)
        asked = f"?{urlencode(query)}" if query else ""
        await self.transport.post(path + asked, None)

    def deployment_log(self, deployment: str) -> AsyncIterator[dict[str, Any]]:
        """Return a deployment's log, ending with its end marker.

        A stream that breaks off is taken up again behind its last line.
        """
        path = route("deploy", deployment, "logs")
        return self.transport.follow(
            path, lambda one: bool(one.get("isDeploymentComplete"))
        )

    def logs(
        self,
        app: str,
        tail: int,
        follow: bool,
        container: str = "",
        all_containers: bool = False,
        since_s: float = 0.0,
    ) -> AsyncIterator[dict[str, Any]]:
        """Return lines of C{app}'s containers.

        @param since_s: only what was written after this time (seconds of the epoch).
        """
        query: dict[str, str] = {"tail": str(tail)}
        if since_s:
            query["since"] = f"{since_s:.3f}"
        if container:
            query["containerId"] = container
        if all_containers:
            query["allContainers"] = "true"
        if not follow:
            query["follow"] = "false"
        path = f"{route('logs', app)}?{urlencode(sorted(query.items()))}"
        return self.transport.stream(path, Headers())

    def server_logs(self, access_logs: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Return lines of the daemon's own log, for ever."""
        query = "?access-logs=true" if access_logs else ""
        return self.transport.stream(f"/v1/server-logs{query}", Headers())

    def events(
        self, app: str = "", after: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Return what happens, for ever; a stream that breaks off is taken up again.

        @param app: only what concerns it.
        @param after: begin behind the event of this number; C{None}: with what comes.
        """
        query = f"?{urlencode({'app': app})}" if app else ""
        seen = "" if after is None else str(after)
        return self.transport.follow(f"/v1/events{query}", lambda _: False, seen)

    # --- deployments --------------------------------------------------------------

    async def deployments(
        self, app: str = "", limit: int = 50, before: int = 0
    ) -> list[dict[str, Any]]:
        """Return deployments, newest first, of C{app} or of all.

        @param before: only those whose C{seq} is smaller; 0: from the newest on.
        """
        query = {"app": app, "limit": str(limit), "before": str(before or "")}
        asked = urlencode({key: value for key, value in query.items() if value})
        found = await self.transport.get(f"/v1/deployments?{asked}")
        return list(found.get("deployments") or [])

    async def deployment(self, app: str, deployment: str) -> dict[str, Any]:
        """Return one deployment with C{changes}. @raise NotFound: there is none."""
        return await self.transport.get(route("deployments", app, deployment))

    async def cancel(self, app: str, deployment: str) -> None:
        """Cancel a deployment that waits. @raise Conflict: it has begun."""
        await self.transport.post(route("deployments", app, deployment, "cancel"), None)

    # --- in containers ------------------------------------------------------------

    async def exec(
        self,
        app: str,
        command: Sequence[str],
        container: str = "",
        all_containers: bool = False,
    ) -> list[dict[str, Any]]:
        """Run a command without input; return a result for each container."""
        body: dict[str, Any] = {"command": list(command)}
        if container:
            body["containerId"] = container
        if all_containers:
            body["allContainers"] = True
        # The answer's head comes at once, its body when the command has ended.
        text = await self.transport.post(route("exec", app), body, EXEC_LIMIT_S)
        return list(json_object(text, self.base_url).get("results") or [])

    async def terminal(
        self, app: str, start: Start, output: Callable[[str, bytes], None]
    ) -> TerminalClient:
        """Run a command in a container of C{app} with its input open.

        @param output: called with C{stdout} or C{stderr} and bytes.
        """
        reactor = self.transport.reactor
        path = route("exec", app)
        # A fifteenth of what every other command has to load.
        from haloy.api.terminal_client import open_terminal  # noqa: PLC0415

        return await open_terminal(reactor, self.transport, path, start, output)

    async def tunnel(
        self, app: str, protocol: IProtocol, port: str = "", container: str = ""
    ) -> None:
        """Give C{protocol} a connection to a port of a container of C{app}.

        @param port: C{""}: the app's own.
        """
        query = {
            key: value
            for key, value in (("container", container), ("port", port))
            if value
        }
        path = route("tunnel", app) + (f"?{urlencode(query)}" if query else "")
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Length": "0"}
        await self.transport.upgrade("POST", path, headers, protocol)

    # --- tokens, audit, registries --------------------------------------------------

    async def tokens(self) -> list[dict[str, Any]]:
        """Return the tokens of the server, revoked ones too, never their values."""
        return list((await self.transport.get("/v1/tokens")).get("tokens") or [])

    async def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        apps: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> str:
        """Make a token and return its value, which is shown only once."""
        body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
        if apps:
            body["apps"] = list(apps)
        if expires_at is not None:
            body["expiresAt"] = expires_at.isoformat()
        text = await self.transport.post("/v1/tokens", body)
        return str(json_object(text, self.base_url).get("token") or "")

    async def revoke_token(self, name: str) -> None:
        """Revoke a token at once. @raise NotFound: there is none of that name."""
        await self.transport.post(route("tokens", name, "revoke"), None)

    async def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return what was done on the server, by whom, newest first."""
        found = await self.transport.get(f"/v1/audit?limit={limit}")
        return list(found.get("actions") or [])

    async def registries(self) -> list[dict[str, Any]]:
        """Return the server's own registry logins, never their passwords."""
        found = await self.transport.get("/v1/registries")
        return list(found.get("registries") or [])

    async def registry_login(self, server: str, username: str, password: str) -> None:
        """Have the server try a login at a registry and keep it."""
        body = {"server": server, "username": username, "password": password}
        await self.transport.post("/v1/registries/login", body, REGISTRY_LIMIT_S)

    async def registry_logout(self, server: str) -> None:
        """Have the server forget a login. @raise NotFound: it has none."""
        await self.transport.post("/v1/registries/logout", {"server": server})

    # --- images -------------------------------------------------------------------

    async def prune(self, app: str, keep: int, apply: bool) -> dict[str, Any]:
        """Remove old images of C{app}, or return which they would be."""
        body = {"appName": app, "keep": keep, "apply": apply}
        text = await self.transport.post("/v1/images/prune", body, PRUNE_LIMIT_S)
        return json_object(text, self.base_url)

    async def missing_layers(self, digests: Sequence[str]) -> list[str]:
        """Return which of the layers the server lacks."""
        body = {"digests": list(digests)}
        text = await self.transport.post("/v1/images/layers/check", body)
        return list(json_object(text, self.base_url).get("missing") or [])

    async def disk_space(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """Return C{ok}, C{path}, C{requiredBytes} and C{availableBytes}.

        @param sizes: C{uploadSizeBytes}, or C{assembledImageSizeBytes} with
            C{layerUploadBytes}.
        """
        text = await self.transport.post("/v1/images/disk-space-check", sizes)
        return json_object(text, self.base_url)

    async def send_layer(
        self, digest: str, layer: Section, moved: Callable[[int], None]
    ) -> None:
        """Send a layer; C{moved} is told the bytes that went."""
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Layer-Digest": digest,
        }
        body = Sections([layer])
        body.on_read(moved)
        await self.transport.send("/v1/images/layers", headers, body)

    async def assemble(
        self, ref: str, config: bytes, manifest: Mapping[str, Any]
    ) -> None:
        """Have an image put together from layers that are there."""
        body = {
            "imageRef": ref,
            "config": base64.b64encode(config).decode(),
            "manifest": manifest,
        }
        path = "/v1/images/layers/assemble"
        await self.transport.post(path, body, LOAD_LIMIT_S)

    async def send_archive(
        self, archive: Section, moved: Callable[[int], None]
    ) -> None:
        """Send a whole C{docker save} archive."""
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="image"; filename="image.tar"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        tail = f"\r\n--{boundary}--\r\n"
        body = Sections([section_of(head.encode()), archive, section_of(tail.encode())])
        body.on_read(moved)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        await self.transport.send("/v1/images/upload", headers, body)
