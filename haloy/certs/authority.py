"""One certificate authority and our account there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

from attrs import define, field

from haloy.certs.acme import (
    AcmeClient,
    AcmeError,
    Binding,
    OrderWish,
    Solver,
    Suggestion,
)
from haloy.certs.acme_http import AcmeHttp
from haloy.certs.files import Account, CertificateFiles
from haloy.certs.jose import key_pem, new_certificate_key
from haloy.certs.pem import leaf, obtained
from haloy.errors import CertificateError
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

#: Runs a blocking function in a thread.
Run = Callable[..., Awaitable[Any]]


class Authority(Protocol):
    """Who issues certificates."""

    @property
    def directory(self) -> str:
        """Return what it is known by."""

    async def order(
        self,
        names: tuple[DomainName, ...],
        solver: Solver,
        replaces: Certificate | None,
    ) -> Certificate:
        """Return a new certificate for C{names}, called by the first one.

        @raise HaloyError: it was not issued; L{AcmeError} tells how.
        """

    async def suggestion(self, certificate: Certificate) -> Suggestion | None:
        """Return when to renew C{certificate}; C{None}: it has no opinion."""


@define(eq=False)
class AcmeAuthority:
    """One reached by ACME.

    @ivar profile: asked for where the CA offers it, C{""}: none.
    """

    _reactor: Any
    _http: AcmeHttp
    _files: CertificateFiles
    _run: Run
    _now: Callable[[], datetime]
    email: str = ""
    binding: Binding | None = None
    profile: str = ""
    _client: AcmeClient | None = field(default=None, init=False)

    @property
    def directory(self) -> str:
        """Return the directory's URL."""
        return self._http.directory_url

    async def order(
        self,
        names: tuple[DomainName, ...],
        solver: Solver,
        replaces: Certificate | None,
    ) -> Certificate:
        """Return a new certificate; see L{Authority.order}."""
        key = new_certificate_key()
        before = replaces if replaces and replaces.directory == self.directory else None
        wish = OrderWish(
            names, key, self.profile, None if before is None else leaf(before)
        )
        client = await self._registered()
        try:
            chain = await client.obtain(wish, solver)
        except AcmeError as problem:
            if problem.problem != "accountDoesNotExist":
                raise
            # The CA has forgotten us, as a test CA does at each start.
            client.account_url = ""
            client = await self._registered()
            chain = await client.obtain(wish, solver)
        found = obtained(names[0], key_pem(key) + b"\n" + chain, self.directory)
        missing = set(names) - found.names
        if missing or found.not_after <= self._now():
            raise CertificateError(
                "the CA has issued something else than was asked for", domain=names[0]
            )
        return found

    async def suggestion(self, certificate: Certificate) -> Suggestion | None:
        """Return when the CA wants it renewed (RFC 9773)."""
        client = await self._made()
        return await client.suggestion(leaf(certificate))

    async def _registered(self) -> AcmeClient:
        client = await self._made()
        if not client.account_url:
            await client.register(self.email, self.binding)
            kept = Account(self.directory, client.key, client.account_url)
            await self._run(self._files.save_account, kept)
        return client

    async def _made(self) -> AcmeClient:
        if self._client is not None:
            return self._client
        account: Account = await self._run(
            self._files.account, self.directory, self._now()
        )
        return self._keep(
            AcmeClient(self._reactor, self._http, account.key, self._now, account.url)
        )

    def _keep(self, made: AcmeClient) -> AcmeClient:
        """Return the client: another order may have made it in the meantime."""
        if self._client is None:
            self._client = made
        return self._client
