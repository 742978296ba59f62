"""The routes of past, running and waiting deployments."""

from __future__ import annotations

from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api import schema
from haloy.api.answers import error_answer, json_answer, respond
from haloy.api.asked import app_filter, count
from haloy.api.gatekeeper import Gatekeeper
from haloy.deploy.interface import Deployments
from haloy.model.names import AppName

LISTED, LISTED_LIMIT = 50, 500


@define(eq=False)
class DeploymentRoutes:
    """Mounted by the API at C{/v1/deployments}."""

    app = Klein()

    _deployments: Deployments
    _gatekeeper: Gatekeeper

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def listing(self, request: IRequest) -> bytes:
        """List deployments, newest first; a token for some apps sees theirs."""
        caller = self._gatekeeper.authenticate(request)
        wanted = app_filter(request)
        caller.require("read", wanted or next(iter(caller.apps), None))
        limit = min(count(request, "limit") or LISTED, LISTED_LIMIT)
        before = count(request, "before")
        apps: list[str | None] = (
            [wanted] if wanted else [*sorted(caller.apps)] or [None]
        )
        found = [
            one
            for app in apps
            for one in await self._deployments.history(
                None if app is None else AppName(app), limit, before
            )
        ]
        found.sort(key=lambda one: one.seq, reverse=True)
        shown = [schema.deployment(one) for one in found[:limit]]
        return json_answer(request, {"deployments": shown})

    @app.route("/<app_name>/<identifier>", methods=["GET"])
    async def one(self, request: IRequest, app_name: str, identifier: str) -> bytes:
        """Show one deployment, and what it changed."""
        self._gatekeeper.admit(request, "read", app_name)
        found = await self._deployments.deployment(AppName(app_name), identifier)
        return json_answer(request, schema.deployment_detail(found))

    @app.route("/<app_name>/<identifier>/cancel", methods=["POST"])
    async def cancel(self, request: IRequest, app_name: str, identifier: str) -> bytes:
        """Cancel a deployment that waits for its turn."""
        caller = self._gatekeeper.admit(request, "deploy", app_name)
        subject = f"{app_name} {identifier}"
        async with self._gatekeeper.audited(caller, "deploy.cancel", subject):
            await self._deployments.cancel(AppName(app_name), identifier, caller.name)
        return respond(request, 202)

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)
