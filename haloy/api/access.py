"""The routes of tokens and of the trail of what was done."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api.answers import error_answer, json_answer, respond
from haloy.api.body import read_json
from haloy.api.gatekeeper import SCOPES, Gatekeeper
from haloy.errors import InvalidValue
from haloy.model.names import parse_app_name

AUDIT_LIMIT = 1000
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")


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
        name, scopes, apps, expires = _body(read_json(request))
        async with self._gatekeeper.audited(caller, "token.create", name):
            token = await self._gatekeeper.create(name, scopes, apps, expires)
        request.setResponseCode(201)
        return json_answer(request, {"name": name, "token": token})

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


def _body(
    found: object,
) -> tuple[str, tuple[str, ...], tuple[str, ...], datetime | None]:
    if not isinstance(found, dict):
        raise InvalidValue("wants a JSON object", field="body")
    unknown = sorted(str(key) for key in found.keys() - {*_KEYS})
    if unknown:
        raise InvalidValue(
            f"unknown field; known: {', '.join(_KEYS)}", field=unknown[0]
        )
    name = found.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidValue("wants up to 64 letters, digits, . _ or -", field="name")
    scopes = _texts(found, "scopes")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidValue(f"wants some of {', '.join(SCOPES)}", field="scopes")
    apps = tuple(parse_app_name(one, "apps") for one in _texts(found, "apps"))
    if apps and "admin" in scopes:
        raise InvalidValue("an admin is for the whole server", field="apps")
    return name, scopes, apps, _expiry(found.get("expiresAt"))


_KEYS = ("name", "scopes", "apps", "expiresAt")


def _texts(found: dict[str, Any], key: str) -> tuple[str, ...]:
    values = found.get(key) or []
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise InvalidValue("wants a list of texts", field=key)
    return tuple(values)


def _expiry(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidValue(
            "wants a time with its zone, as in 2027-01-31T00:00:00Z", field="expiresAt"
        )
    return at


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
