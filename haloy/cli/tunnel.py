"""C{haloy tunnel}: a port of a container, on a port of this machine."""

from __future__ import annotations

import socket
from typing import Any

import click
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.cli.answers import of_target
from haloy.cli.context import choose, client_for
from haloy.cli.numbers import Whole
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.errors import HaloyError

LOCAL = "127.0.0.1"
PROBE_LIMIT_S = 0.1

_PORT = Whole(1, 65535)


@click.command("tunnel")
@click.argument("local_port", required=False, type=_PORT)
@app_options
@click.option("--port", type=_PORT, help="Local port; by default the app's own.")
@click.option("--remote-port", type=_PORT, help="Port in the container.")
@click.option(
    "--container", default="", help="This container: its id or the beginning."
)
@output_options
def tunnel_(
    local_port: int | None,
    selection: Selection,
    port: int | None,
    remote_port: int | None,
    container: str,
    output: Output,
) -> None:
    """Forward LOCAL_PORT of this machine to the app's container.

    For a database: haloy tunnel 5432, then psql -h localhost.
    """
    if port is not None and local_port is not None:
        raise click.UsageError("give the port as an argument or by --port, not both")
    project, chosen = choose(selection)
    if len(chosen) > 1:
        raise click.UsageError("a tunnel leads to one target")
    (one,) = chosen
    here = port or local_port or int(one.target.port or 8080)
    _refuse_taken(here)

    async def carry_out(reactor: Any) -> None:
        client = client_for(reactor, project, one, selection.limit_s)
        await client.status(one.app)  # not only when somebody connects
        factory = Tunnel(client, one.app, str(remote_port or ""), container, output)
        endpoint = TCP4ServerEndpoint(reactor, here, interface=LOCAL)
        try:
            await endpoint.listen(factory)
        except CannotListenError as problem:
            raise HaloyError(f"port {here} cannot be used: {problem}") from None
        if output.as_json:
            output.json_line({**of_target(one), "localPort": here})
        there = f"port {remote_port}" if remote_port else "its port"
        output.info(
            f"localhost:{here} leads to {one.app} on {one.server}, {there}; "
            "press Ctrl+C to stop"
        )
        await Deferred()

    run(carry_out)


def _refuse_taken(port: int) -> None:
    """@raise HaloyError: something listens there already, maybe on another address."""
    try:
        socket.create_connection(("localhost", port), PROBE_LIMIT_S).close()
    except OSError:
        return
    raise HaloyError(
        f"something listens on port {port} of this machine already; choose another: "
        f"haloy tunnel {port + 1 if port < 65535 else 15432} --remote-port {port}"
    )


@implementer(IHalfCloseableProtocol)
class _End(Protocol):
    """One end: what it reads the other end writes; each may close its half."""

    other: _End | None = None
    is_open = True
    reads = True

    @property
    def peer(self) -> Any:
        """The transport."""
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None:
            self.other.peer.write(data)

    def readConnectionLost(self) -> None:
        self.reads = False
        if self.other is None:
            self.peer.loseConnection()
        elif self.other.reads:
            _end_writing(self.other.peer)
        else:
            self.other.peer.loseConnection()
            self.peer.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_open = False
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other.peer.loseConnection()


def _end_writing(transport: Any) -> None:
    """Close our half; TLS cannot close one, and ends what is written."""
    close = getattr(transport, "loseWriteConnection", None)
    (close or transport.loseConnection)()


@define(eq=False, slots=False)
class Tunnel(Factory):
    """Opens a way into a container for every connection."""

    _client: Any
    _app: str
    _port: str
    _container: str
    _output: Output
    noisy: bool = field(default=False, init=False)

    def buildProtocol(self, addr: Any) -> Protocol:
        """Return our end of one connection."""
        return _Near(self)

    async def join(self, near: _End) -> None:
        """Connect C{near} with the container; what goes wrong is told."""
        far = _End()
        try:
            await self._client.tunnel(self._app, far, self._port, self._container)
        except HaloyError as problem:
            self._output.problem(problem)
            near.peer.abortConnection()
            return
        if not near.is_open:
            far.peer.loseConnection()
            return
        near.other, far.other = far, near
        # Each end stops reading while the other's buffer is full.
        near.peer.registerProducer(far.peer, True)
        far.peer.registerProducer(near.peer, True)
        near.peer.resumeProducing()


class _Near(_End):
    """The end on this machine; it waits until the way is open."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def connectionMade(self) -> None:
        self.peer.pauseProducing()
        joining = Deferred.fromCoroutine(self._tunnel.join(self))
        joining.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._tunnel._output.error(failure.getErrorMessage())
        self.peer.abortConnection()
