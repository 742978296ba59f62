"""TLS contexts by server name, swapped whole.

One base context is what accepted sockets are wrapped with; its SNI callback hands
the handshake to the context of the name: exact, then one-label wildcard. A name
that nobody has gets the alert C{unrecognized_name} (RFC 6066 section 3) and no
certificate. Tickets belong to the base context, so resumption survives a swap.

The ClientHello is read before the handshake takes it
(L{haloy.proxy.tls.client_hello}): only there a validation of TLS-ALPN-01 (RFC 8737)
can be told from a visitor.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, Protocol, cast

from attrs import define, field
from twisted.logger import Logger

from haloy.errors import CertificateError
from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.proxy.accepting import NONBLOCKING, family_of
from haloy.proxy.tls.client_hello import LIMIT_BYTES, Hello, NeedMore, read_hello
from haloy.proxy.tls.policy import PROTOCOLS, context_of, server_context
from haloy.proxy.tls.tickets import use_keys

VALIDATION: Final = "acme-tls/1"

#: A fatal C{unrecognized_name} as it is on the wire (RFC 8446 section 6).
_UNRECOGNIZED: Final = b"\x15\x03\x03\x00\x02\x02\x70"


class ValidationAnswered(ConnectionAbortedError):
    """The CA has seen what it came for; the connection carries nothing else."""


class NameRefused(ConnectionAbortedError):
    """The client asked for something that is no host name."""


class Contexts(Protocol):
    """The TLS side, as the listener needs it (L{haloy.proxy.tls.contexts})."""

    @property
    def context(self) -> ssl.SSLContext:
        """What accepted sockets are wrapped with."""

    def server_name(self, connection: ssl.SSLSocket) -> str | None:
        """Return the name of a finished handshake in lower case."""

    def replace(self, certificates: tuple[Certificate, ...]) -> None:
        """Serve with exactly these."""

    def present_alpn(self, challenge: Challenge) -> None:
        """Answer a TLS-ALPN-01 challenge."""

    def withdraw_alpn(self, challenge: Challenge) -> None:
        """Stop answering it."""

    def renew(self, keys: Secret | None = None) -> None:
        """Use new keys for tickets from now on, C{keys} or ones of our own."""


class _Base(ssl.SSLContext):
    """The base context, and whose it is."""

    contexts: SniContexts


class Connection(ssl.SSLSocket):
    """A connection that looks at its ClientHello before it shakes hands.

    While not all of it is there, the socket is readable only when the rest has
    come (C{SO_RCVLOWAT}), so that a reactor that asks the kernel is not kept busy.

    One that does not block goes around the C{ssl} module's own functions, by what they
    have inside (docs/decisions/0005): four of them for each message, and for each
    handshake five questions to the kernel whose answers are known.

    @ivar validates: a CA looks for the answer to its challenge.
    @ivar haloy_server_name: what the client asked for, in lower case.
    """

    haloy_server_name: str | None = None
    _looked = False
    validates = False
    _seen_bytes = 0

    # What C{SSLSocket} keeps of each connection, and is the same for all of ours.
    _sslobj: Any = None
    _context: Any = None
    _session = None
    _connected = True
    server_side = True
    server_hostname = None
    do_handshake_on_connect = False
    suppress_ragged_eofs = True

    @classmethod
    def _create(
        cls, sock: socket.socket, *, context: ssl.SSLContext, **others: Any
    ) -> Connection:
        """Take over C{sock}, which was accepted; C{SSLContext.wrap_socket} calls it."""
        if sock.gettimeout() != 0.0:
            whole = cast(Any, super())._create  # no stub knows it
            return cast(Connection, whole(sock=sock, context=context, **others))
        self = cls.__new__(cls)
        socket.socket.__init__(
            self, family_of(sock), NONBLOCKING, 0, fileno=sock.fileno()
        )
        sock.detach()
        inner = cast(Any, context)
        self._context = context
        self._sslobj = inner._wrap_socket(self, True, None, owner=self, session=None)
        return self

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has come, C{b""} at the end."""
        inner = self._sslobj
        if inner is None or flags:
            return super().recv(buflen, flags)
        try:
            return cast(bytes, inner.read(buflen))
        except ssl.SSLEOFError:
            return b""  # as C{suppress_ragged_eofs}

    def send(self, data: Any, flags: int = 0) -> int:
        """Send C{data} and return how much the kernel has taken."""
        inner = self._sslobj
        if inner is None or flags:
            return super().send(data, flags)
        return cast(int, inner.write(data))

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, or go on with it.

        @raise ValidationAnswered: it was a validation, and is done.
        @raise NameRefused: the name is no host name; the client has its alert.
        """
        if not self._looked:
            self._look()
        if self.gettimeout() == 0.0:
            self._sslobj.do_handshake()
        else:
            super().do_handshake(block)
        if self.validates:
            raise ValidationAnswered

    def _look(self) -> None:
        while True:
            try:
                # SSLSocket.recv() takes no flags.
                data = socket.socket.recv(self, LIMIT_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                raise ssl.SSLWantReadError from None
            found = read_hello(data, protocols=self._context.contexts.validating)
            # Nothing new although we were called: the rest will not come.
            if not isinstance(found, NeedMore) or len(data) == self._seen_bytes:
                break
            self._seen_bytes = len(data)
            self._wait_for(found.size_bytes)
            if self.gettimeout() == 0.0:
                raise ssl.SSLWantReadError
        self._looked = True
        if self._seen_bytes:
            self._wait_for(1)
        if isinstance(found, Hello):
            self._act_on(found)

    def _wait_for(self, size_bytes: int) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)

    def _act_on(self, hello: Hello) -> None:
        contexts: SniContexts = self._context.contexts
        if not hello.server_name.isascii():
            # The ssl module would write a traceback for each of these (P16).
            contexts.unknown += 1
            socket.socket.send(self, _UNRECOGNIZED)
            raise NameRefused
        found = contexts.validation(hello)
        if found is not None:
            self.validates = True
            self.context = found


@define(eq=False)
class SniContexts:
    """The contexts of all names, and the base context that leads to them.

    @ivar unknown: handshakes that asked for a name nobody has.
    """

    _protocols: tuple[str, ...] = PROTOCOLS
    _log: Logger = field(factory=Logger, init=False)
    _base: ssl.SSLContext = field(init=False)
    _by_name: dict[str, ssl.SSLContext] = field(factory=dict, init=False)
    _made: dict[bytes, ssl.SSLContext] = field(factory=dict, init=False, repr=False)
    _validations: dict[str, tuple[str, ssl.SSLContext]] = field(
        factory=dict, init=False
    )
    unknown: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the base context."""
        self.renew()

    @property
    def context(self) -> ssl.SSLContext:
        """What accepted sockets are wrapped with."""
        return self._base

    def renew(self, keys: Secret | None = None) -> None:
        """Make a new base context, and so new ticket keys; call it once a day.

        @param keys: those of all workers (L{haloy.proxy.tls.tickets}).
        """
        base = cast(_Base, server_context(self._protocols, _Base))
        if keys is not None and not use_keys(base, keys):
            self._log.info("TLS sessions are resumed in the worker they began in only")
        base.contexts = self
        base.sslsocket_class = Connection
        base.sni_callback = cast(Any, self._choose)  # a name may be absent
        self._base = base

    def replace(self, certificates: tuple[Certificate, ...]) -> None:
        """Serve with exactly these; a bad one leaves what its names had.

        A certificate called by a name serves it before one that covers it too;
        of two others the later one does. Handshakes under way end with the context
        that they began with.
        """
        made: dict[bytes, ssl.SSLContext] = {}
        by_name: dict[str, ssl.SSLContext] = {}
        called: dict[str, ssl.SSLContext] = {}
        for certificate in certificates:
            key = sha256(certificate.chain + certificate.key.value).digest()
            names = {one.lower() for one in certificate.names or {certificate.name}}
            try:
                context = self._made.get(key) or context_of(
                    certificate, self._protocols
                )
            except CertificateError as problem:
                self._log.error("{problem}; the one before stays", problem=str(problem))
                by_name |= self._kept(names)
                continue
            made[key] = context
            by_name |= dict.fromkeys(names, context)
            if certificate.name.lower() in names:
                called[certificate.name.lower()] = context
        self._made = made
        self._by_name = by_name | called

    @property
    def validating(self) -> bool:
        """Whether a CA may come to look for the answer to its challenge."""
        return bool(self._validations)

    def has(self, name: str) -> bool:
        """Return whether there is a certificate for C{name}."""
        return self._find(name) is not None

    def server_name(self, connection: ssl.SSLSocket) -> str | None:
        """Return the name a client asked for, in lower case."""
        name: str | None = getattr(connection, "haloy_server_name", None)
        return name

    # --- TLS-ALPN-01 ----------------------------------------------------------------

    def present_alpn(self, challenge: Challenge) -> None:
        """Answer a TLS-ALPN-01 challenge from now on.

        @raise CertificateError: it has no certificate that can be shown.
        """
        if challenge.kind is not ChallengeKind.TLS_ALPN_01:
            raise CertificateError(
                f"{challenge.kind.value} is not answered in a handshake",
                domain=challenge.name,
            )
        if challenge.certificate is None:
            raise CertificateError(
                "a TLS-ALPN-01 challenge without a certificate", domain=challenge.name
            )
        context = context_of(challenge.certificate, (VALIDATION,))
        self._validations[challenge.name.lower()] = (challenge.token, context)

    def withdraw_alpn(self, challenge: Challenge) -> None:
        """Stop answering C{challenge}; of a newer one for the name nothing changes."""
        token, _ = self._validations.get(challenge.name.lower(), ("", None))
        if token == challenge.token:
            del self._validations[challenge.name.lower()]

    def validation(self, hello: Hello) -> ssl.SSLContext | None:
        """Return what to show to a CA that validates, C{None} for anybody else.

        A validation offers this one protocol (RFC 8737 section 3).
        """
        if not self._validations or hello.protocols != (VALIDATION.encode(),):
            return None
        name = hello.server_name.decode("ascii").lower()
        _, context = self._validations.get(name, ("", None))
        return context

    # --- choosing ---------------------------------------------------------------------

    def _kept(self, names: Iterable[str]) -> dict[str, ssl.SSLContext]:
        return {name: self._by_name[name] for name in names if name in self._by_name}

    def _find(self, asked: str) -> ssl.SSLContext | None:
        name = asked.lower().removesuffix(".")
        context = self._by_name.get(name)
        if context is None:
            _, dot, rest = name.partition(".")
            context = self._by_name.get(f"*.{rest}") if dot else None
        return context

    def _choose(
        self, connection: Connection, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        """Switch to the context of C{name}; never raise, which would flood the log."""
        if connection.validates:
            return None
        context = self._find(name) if name else None
        if context is None:
            self.unknown += 1
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        connection.haloy_server_name = (name or "").lower().removesuffix(".")
        return None
