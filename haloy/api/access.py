"""The routes of tokens and of the trail of what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api.answers import error_answer, json_answer, respond, set_status
from haloy.api.bodies import TokenBody, read_body
from haloy.api.body import read_json
from haloy.api.gatekeeper import Gatekeeper
from haloy.errors import InvalidValue
from haloy.model.names import parse_app_name


@define(eq=False)
class TokenRoutes:
    """Mounted by the API; all of them are for admins."""

    app = Klein()

    _gatekeeper: Gatekeeper

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def listing(self, request: IRequest) -> bytes:
        """List the tokens, never what they are."""
        self._gatekeeper.admit(request, "admin")
        found = [
            {
                "name": one.name,
                "scopes": list(one.scopes),
                "apps": list(one.apps),
                "createdAt": _time(one.created_at),
                "expiresAt": _time(one.expires_at),
                "lastUsedAt": _time(one.last_used_at),
                "revokedAt": _time(one.revoked_at),
            }
            for one in await self._gatekeeper.tokens()
        ]
        return json_answer(request, {"tokens": found})

    @app.route("/", methods=["POST"], strict_slashes=False)
    async def create(self, request: Any) -> bytes:
        """Make a token; the answer is the only place where it is shown."""
        caller = self._gatekeeper.admit(request, "admin")
        body = read_body(read_json(request), TokenBody)
        apps = tuple(parse_app_name(one, "apps") for one in body.apps)
        if apps and "admin" in body.scopes:
            raise InvalidValue("an admin is for the whole server", field="apps")
        expires = _expiry(body.expires)
        async with self._gatekeeper.audited(caller, "token.create", body.name):
            token = await self._gatekeeper.create(body.name, body.scopes, apps, expires)
        set_status(request, 201)
        return json_answer(request, {"name": body.name, "token": token})

    @app.route("/<name>/revoke", methods=["POST"])
    async def revoke(self, request: IRequest, name: str) -> bytes:
        """Revoke a token at once."""
        caller = self._gatekeeper.admit(request, "admin")
        async with self._gatekeeper.audited(caller, "token.revoke", name):
            await self._gatekeeper.revoke(name)
        return respond(request, 204)

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)


def _expiry(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidValue(
            "must be a time with its zone, as in 2027-01-31T00:00:00Z",
            field="expiresAt",
        )
    return at


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
