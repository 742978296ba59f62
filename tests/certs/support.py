"""Who answers challenges in tests, and the service around it."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from haloy.certs.interface import Presenter
from haloy.certs.renewal import CertificateService
from haloy.certs.service import certificate_service
from haloy.config.acme_settings import CHALLENGES, AcmeDnsSettings, AcmeSettings
from haloy.config.daemon_file import DnsSettings
from haloy.errors import HaloyError
from haloy.model.app import Domain
from haloy.model.certificate import Certificate, Challenge, ChallengeKind
from haloy.model.names import DomainName
from haloy.proxy.tls.contexts import SniContexts
from tests.support.pebble import Pebble

#: What L{service_for} has made in a test; C{conftest} stops what it leaves running.
made: list[CertificateService] = []


def domain(canonical: str, *aliases: str) -> Domain:
    return Domain(DomainName(canonical), tuple(DomainName(one) for one in aliases))


def real_now() -> datetime:
    return datetime.now(UTC)


@define(eq=False)
class Front:
    """Stands for the proxy: answers challenges on real ports, in threads."""

    contexts: SniContexts = field(factory=SniContexts)
    answers: dict[str, str] = field(factory=dict)
    seen: list[str] = field(factory=list)
    served: list[tuple[Certificate, ...]] = field(factory=list)
    presented: list[Challenge] = field(factory=list)
    withdrawn: list[Challenge] = field(factory=list)
    away: bool = False

    async def present(self, challenge: Challenge) -> None:
        self.presented.append(challenge)
        if challenge.kind is ChallengeKind.TLS_ALPN_01:
            self.contexts.present_alpn(challenge)
        else:
            self.answers[challenge.token] = challenge.key_authorization

    async def withdraw(self, challenge: Challenge) -> None:
        self._be_there()
        self.withdrawn.append(challenge)
        if challenge.kind is ChallengeKind.TLS_ALPN_01:
            self.contexts.withdraw_alpn(challenge)
        else:
            self.answers.pop(challenge.token, None)

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        self._be_there()
        self.served.append(certificates)
        self.contexts.replace(certificates)

    def _be_there(self) -> None:
        if self.away:
            raise HaloyError("haloy-proxy: the connection was lost")

    @property
    def names(self) -> set[str]:
        """What the proxy could serve now."""
        return {name for one in self.served[-1] for name in one.names}


@contextmanager
def answering(front: Front, http_port: int, tls_port: int = 0) -> Iterator[None]:
    """Answer what C{front} presents."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            front.seen.append(self.path)
            body = front.answers.get(self.path.rpartition("/")[2], "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", http_port), Handler)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,))]
    listening = socket.create_server(("127.0.0.1", tls_port)) if tls_port else None
    if listening is not None:
        threads.append(threading.Thread(target=_shake_hands, args=(listening, front)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for thread in threads:
            thread.join()


def _shake_hands(listening: socket.socket, front: Front) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        connection.settimeout(20)
        try:
            front.contexts.context.wrap_socket(connection, server_side=True).close()
        except (OSError, ssl.SSLError):
            connection.close()


def service_for(
    reactor: Any,
    pebble: Pebble,
    folder: Path,
    front: Presenter,
    *,
    challenges: tuple[str, ...] = CHALLENGES,
    provider: AcmeDnsSettings | None = None,
    profile: str = "",
    **changes: Any,
) -> CertificateService:
    """Return the real service with the CA C{pebble}."""
    settings: dict[str, Any] = {
        "reactor": reactor,
        "folder": folder / "certs",
        "acme": AcmeSettings(
            directory=pebble.directory_url,
            ca_file=pebble.ca_file,
            challenges=challenges,
            dns=provider,
            profile=profile,
        ),
        "dns": DnsSettings(resolvers=(pebble.dns,)),
        "presenter": front,
        "now": real_now,
        "random": random.Random(1),
        **changes,
    }
    made.append(certificate_service(**settings))
    return made[-1]


async def until(
    reactor: Any, true: Callable[[], bool], limit_s: float = 30.0, step_s: float = 0.02
) -> None:
    """Return when C{true} is."""
    end_s = reactor.seconds() + limit_s
    while not true():
        assert reactor.seconds() < end_s, "did not happen"
        await deferLater(reactor, step_s)


def at_once(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Run in this thread: for tests without a reactor."""
    return succeed(function(*arguments))
