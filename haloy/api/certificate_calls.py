"""The calls about certificates as a client makes them."""

from __future__ import annotations

from typing import Any

from attrs import define

from haloy.api.paths import route
from haloy.api.transport import Transport, json_object


@define(eq=False)
class CertificateCalls:
    """What can be asked of one server; failures are those of L{Transport}."""

    transport: Transport

    async def list(self) -> list[dict[str, Any]]:
        """Return how it stands with every name; only daemons of ours know this."""
        found = await self.transport.get("/v1/certificates")
        return list(found.get("certificates") or [])

    async def show(self, name: str) -> dict[str, Any]:
        """Return how it stands with C{name}. @raise NotFound: no app has it."""
        return await self.transport.get(route("certificates", name))

    async def renew(self, name: str) -> dict[str, Any]:
        """Have one ordered now; return how it stood before. @raise NotFound: as above.

        @raise Conflict: nobody would issue it.
        """
        text = await self.transport.post(f"{route('certificates', name)}/renew", {})
        return json_object(text, self.transport.base_url)

    async def put(self, name: str, pem: str) -> dict[str, Any]:
        """Serve C{name} with key and chain in C{pem}; return how it stands.

        @raise InvalidValue: they cannot be served.
        """
        text = await self.transport.post(route("certificates", name), {"pem": pem})
        return json_object(text, self.transport.base_url)
