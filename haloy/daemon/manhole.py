"""A Python prompt inside the running daemon, for the one who operates it.

Off by default. Whoever reaches it can do all that haloyd can, which is root in
effect: the unix socket is its owner's alone, and SSH listens on loopback for the
keys of one file. What it needs is imported only when it is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from haloy.config.client_file import split_server
from haloy.config.operations import ManholeSettings
from haloy.config.private import write_private
from haloy.socket_file import make_way


@define(eq=False)
class ManholeService:
    """Listens as C{manhole} of haloyd.yaml says.

    @ivar _namespace: what the prompt knows by which name.
    """

    _reactor: Any
    _settings: ManholeSettings
    _socket: Path
    _host_key: Path
    _namespace: Mapping[str, Any]
    _log: Logger = field(factory=Logger, init=False)
    _port: IListeningPort | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        """The port that is bound, for C{ssh}."""
        host: Any = None if self._port is None else self._port.getHost()
        return int(host.port)

    async def start(self) -> None:
        """Listen, unless it is off; what stands in the way is told and no more."""
        if self._settings.mode == "off":
            return
        try:
            await self._listen(self._settings.mode)
        except Exception:  # nobody's requests depend on it
            self._log.failure("the manhole cannot be opened")

    async def _listen(self, mode: str) -> None:
        if mode == "unix":
            make_way(self._socket)
            self._port = self._reactor.listenUNIX(
                str(self._socket), prompt_factory(self._namespace), mode=0o600
            )
            where = str(self._socket)
        else:
            where = self._settings.listen
            host, port = split_server(where)
            kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
            factory = ssh_factory(
                self._namespace, Path(self._settings.authorized_keys), self._host_key
            )
            endpoint = kind(self._reactor, port or 0, interface=host)
            self._port = await endpoint.listen(factory)
        self._log.warn(
            "the manhole is open at {where}: who may use it can do anything",
            where=where,
        )

    async def stop(self) -> None:
        """Listen no more."""
        port, self._port = self._port, None
        if port is not None:
            stopped: Any = port.stopListening()
            if stopped is not None:
                await stopped
        if self._settings.mode == "unix":
            self._socket.unlink(missing_ok=True)


def prompt_factory(namespace: Mapping[str, Any]) -> Factory:
    """Return what gives each connection a prompt, without asking who it is."""
    from twisted.conch.insults.insults import ServerProtocol  # noqa: PLC0415  (large)
    from twisted.conch.manhole import Manhole  # noqa: PLC0415  (large)

    def prompt() -> Any:
        return ServerProtocol(Manhole, dict(namespace))

    factory = Factory.forProtocol(prompt)
    factory.noisy = False
    return factory


def ssh_factory(
    namespace: Mapping[str, Any], authorized_keys: Path, host_key: Path
) -> Factory:
    """Return an SSH server that gives a prompt to the keys of C{authorized_keys}.

    The file is read at each login. The server's own key is made once.
    """
    from twisted.conch.checkers import (  # noqa: PLC0415  (large)
        IAuthorizedKeysDB,
        SSHPublicKeyChecker,
        readAuthorizedKeyFile,
    )
    from twisted.conch.insults.insults import ServerProtocol  # noqa: PLC0415  (large)
    from twisted.conch.manhole import Manhole  # noqa: PLC0415  (large)
    from twisted.conch.manhole_ssh import (  # noqa: PLC0415  (large)
        ConchFactory,
        TerminalRealm,
        TerminalSession,
    )
    from twisted.conch.ssh.keys import Key  # noqa: PLC0415  (large)
    from twisted.cred.portal import Portal  # noqa: PLC0415  (large)

    @implementer(IAuthorizedKeysDB)
    class KeyFile:
        """The keys of one file, whatever the user's name."""

        def getAuthorizedKeys(self, username: bytes) -> list[Key]:  # noqa: N802
            with authorized_keys.open("rb") as file:
                return list(readAuthorizedKeyFile(file))

    class Session(TerminalSession):
        """What conch leaves out: a client that sends no more, or has another size."""

        def eofReceived(self) -> None:  # noqa: N802
            """Wait for what it has sent to be done."""

        def windowChanged(self, newWindowSize: Any) -> None:  # noqa: N802, N803
            """Go on with the size that it had."""

    realm: Any = TerminalRealm()
    realm.sessionFactory = Session
    realm.chainedProtocolFactory = lambda: ServerProtocol(Manhole, dict(namespace))
    factory: Any = ConchFactory(Portal(realm, [SSHPublicKeyChecker(KeyFile())]))
    key = Key.fromString(_host_key(host_key))
    factory.publicKeys = {key.sshType(): key.public()}
    factory.privateKeys = {key.sshType(): key}
    made: Factory = factory
    return made


def _host_key(path: Path) -> bytes:
    """Return the server's own key, made the first time."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        content = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        )
        write_private(path, content)
        return content
