"""The API as a client calls it: one object for one server."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from attrs import define
from twisted.web.http_headers import Headers

from haloy.api.sections import Section, Sections, section_of
from haloy.api.transport import Transport, json_object

#: Docker takes a while to load a large image.
LOAD_LIMIT_S = 900.0


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
        found = await self.transport.get(f"/v1/rollback/{quote(app, safe='')}")
        return list(found.get("targets") or [])

    async def status(self, app: str) -> dict[str, Any]:
        """Return how C{app} is. @raise NotFound: not deployed."""
        return await self.transport.get(f"/v1/status/{quote(app, safe='')}")

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
        path = f"/v1/stop/{quote(app, safe='')}"
        asked = f"?{urlencode(query)}" if query else ""
        await self.transport.post(path + asked, None)

    def deployment_log(self, deployment: str) -> AsyncIterator[dict[str, Any]]:
        """Return a deployment's log, ending with its end marker.

        A stream that breaks off is taken up again behind its last line.
        """
        path = f"/v1/deploy/{quote(deployment, safe='')}/logs"
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
    ) -> AsyncIterator[dict[str, Any]]:
        """Return lines of C{app}'s containers."""
        query: dict[str, str] = {"tail": str(tail)}
        if container:
            query["containerId"] = container
        if all_containers:
            query["allContainers"] = "true"
        if not follow:
            query["follow"] = "false"
        path = f"/v1/logs/{quote(app, safe='')}?{urlencode(sorted(query.items()))}"
        return self.transport.stream(path, Headers())

    # --- images -------------------------------------------------------------------

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
