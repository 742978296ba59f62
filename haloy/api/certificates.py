"""The routes of certificates: how it stands with each, renewing, putting one there.

A token that is limited to apps sees and changes what belongs to their domains.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api.answers import error_answer, json_answer, set_status
from haloy.api.bodies import PemBody, read_body
from haloy.api.body import read_json
from haloy.api.gatekeeper import Caller, Gatekeeper
from haloy.certs.files import NotWritten
from haloy.certs.interface import Certificates, CertificateStatus
from haloy.deploy.interface import Deployments
from haloy.errors import CertificateError, Conflict, InvalidValue, NotFound, StoreError
from haloy.model.names import DomainName, parse_domain_name

PEM_LIMIT_BYTES = 1 << 20


@define(eq=False)
class CertificateRoutes:
    """Mounted by the API."""

    app = Klein()

    _certificates: Certificates
    _deployments: Deployments
    _gatekeeper: Gatekeeper

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def listing(self, request: IRequest) -> bytes:
        """List how it stands with every name that wants one."""
        caller = self._gatekeeper.admit_some(request, "read")
        found = list(self._certificates.status())
        if not caller.may("read", None):
            owners = await self._owners()
            found = [one for one in found if caller.sees(owners.get(one.name, ""))]
        return json_answer(
            request, {"certificates": [certificate_json(one) for one in found]}
        )

    @app.route("/<name>", methods=["GET"])
    async def show(self, request: IRequest, name: str) -> bytes:
        """Say how it stands with one."""
        caller = self._gatekeeper.admit_some(request, "read")
        domain = await self._allowed(caller, "read", name)
        return json_answer(request, certificate_json(self._status(domain)))

    @app.route("/<name>/renew", methods=["POST"])
    async def renew(self, request: Any, name: str) -> bytes:
        """Order one now; the answer says how it stands before that."""
        caller = self._gatekeeper.admit_some(request, "deploy")
        domain = await self._allowed(caller, "deploy", name)
        before = self._status(domain)
        async with self._gatekeeper.audited(caller, "certificate.renew", domain):
            try:
                self._certificates.renew(domain)
            except CertificateError as problem:
                raise Conflict(problem.reason) from problem
        set_status(request, 202)
        return json_answer(request, certificate_json(before))

    @app.route("/<name>", methods=["POST"])
    async def put(self, request: IRequest, name: str) -> bytes:
        """Take a certificate of somebody's own and serve it."""
        caller = self._gatekeeper.admit_some(request, "deploy")
        domain = await self._allowed(caller, "deploy", name)
        pem = read_body(read_json(request), PemBody).pem.encode()
        if len(pem) > PEM_LIMIT_BYTES:
            raise InvalidValue("is larger than 1 MiB", field="pem")
        async with self._gatekeeper.audited(caller, "certificate.import", domain):
            try:
                found = await self._certificates.put(domain, pem)
            except NotWritten as problem:
                raise StoreError(problem.reason) from problem
            except CertificateError as problem:
                raise InvalidValue(problem.reason, field="pem") from problem
        if found is None:
            return json_answer(request, {"name": domain, "state": "unused"})
        return json_answer(request, certificate_json(found))

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)

    async def _owners(self) -> dict[DomainName, str]:
        """Return the app of each canonical name."""
        return {
            domain.canonical: app.app
            for app in await self._deployments.apps()
            for domain in app.domains
        }

    async def _allowed(self, caller: Caller, scope: str, name: str) -> DomainName:
        """Return C{name} when C{caller} may; a name of no app is for admins.

        @raise InvalidValue: it is no name.
        @raise Forbidden: C{scope} is not allowed.
        """
        domain = parse_domain_name(name, "name", wildcard=True)
        if not caller.may("admin", None):
            owner = (await self._owners()).get(domain)
            if owner is None and scope != "read":
                caller.require("admin")
            caller.require(scope, owner)
        return domain

    def _status(self, name: DomainName) -> CertificateStatus:
        for one in self._certificates.status():
            if one.name == name:
                return one
        raise NotFound(
            f"no app has the domain {name}; an alias is on its domain's certificate"
        )


def certificate_json(status: CertificateStatus) -> dict[str, Any]:
    """Return C{status} as the API tells it; what there is not is left out."""
    found = {
        "name": status.name,
        "state": status.state,
        "aliases": list(status.aliases),
        "names": list(status.names),
        "notBefore": _time(status.not_before),
        "notAfter": _time(status.not_after),
        "issuer": status.issuer,
        "fingerprint": status.fingerprint,
        "directory": status.directory,
        "reason": status.reason,
        "problem": status.problem,
        "document": status.document,
        "failures": status.failures,
        "ordering": status.ordering,
        "nextTry": _time(status.next_try),
    }
    return {key: value for key, value in found.items() if value}


def _time(at: datetime | None) -> str:
    return "" if at is None else at.isoformat().replace("+00:00", "Z")
