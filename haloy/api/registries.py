"""The routes of registry logins (C{spec/api.md} 4.11 to 4.13)."""

from __future__ import annotations

from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api.answers import error_answer, json_answer, respond
from haloy.api.bodies import LoginBody, LogoutBody, read_body
from haloy.api.body import read_json
from haloy.api.gatekeeper import Gatekeeper
from haloy.config.images import normalise_registry
from haloy.engine.interface import Credentials, Engine
from haloy.errors import EngineUnavailable, InvalidValue, NotFound, Unauthorized
from haloy.store.registries import RegistryFile


@define(eq=False)
class RegistryRoutes:
    """Mounted by the API; all of them are for admins."""

    app = Klein()

    _engine: Engine
    _file: RegistryFile
    _gatekeeper: Gatekeeper

    @app.route("/", methods=["GET"], strict_slashes=False)
    def listing(self, request: IRequest) -> bytes:
        """List the logins, never their passwords."""
        self._gatekeeper.admit(request, "admin")
        logins = self._file.logins()
        rows = [
            {"server": server, "username": logins[server][0]}
            for server in sorted(logins)
        ]
        return json_answer(request, {"registries": rows})

    @app.route("/login", methods=["POST"])
    async def login(self, request: IRequest) -> bytes:
        """Try a login at its registry, and keep it when it works."""
        caller = self._gatekeeper.admit(request, "admin")
        body = read_body(read_json(request), LoginBody)
        username, password = body.username, body.password
        server = normalise_registry(body.server)
        async with self._gatekeeper.audited(caller, "registry.login", server):
            try:
                await self._engine.login(Credentials(server, username, password))
            except Unauthorized as problem:
                # 400, not 401: it is the registry that refuses, not we.
                raise InvalidValue(
                    f"failed to verify registry credentials: {problem}"
                ) from problem
            except EngineUnavailable:
                await self._engine.ping()  # else it is Docker that does not answer
                raise InvalidValue(
                    "failed to verify registry credentials: "
                    f"{server} did not answer in time"
                ) from None
            self._file.put(server, username, password)
        return json_answer(request, {"server": server, "username": username})

    @app.route("/logout", methods=["POST"])
    async def logout(self, request: IRequest) -> bytes:
        """Forget a login."""
        caller = self._gatekeeper.admit(request, "admin")
        body = read_body(read_json(request), LogoutBody)
        server = normalise_registry(body.server)
        async with self._gatekeeper.audited(caller, "registry.logout", server):
            if not self._file.drop(server):
                raise NotFound(f"registry credentials for {server} were not found")
        return respond(request, 204)

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)
