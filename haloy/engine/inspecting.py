"""Inspects containers over plain connections: reconciliation asks about hundreds.

Each function blocks, in a thread. Docker's client makes a connection for every path it
asks for, behind two layers of sessions and adapters: that is 1.5 ms of work for one
container, and what follows takes 0.3.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from attrs import frozen
from docker import APIClient

from haloy.engine.away import unreachable
from haloy.engine.calls import CALL_LIMIT_S
from haloy.engine.http import place_of, refusal
from haloy.engine.interface import Container
from haloy.engine.values import container_from
from haloy.errors import EngineUnavailable, NotFound


class _UnixConnection(HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str, limit_s: float) -> None:
        super().__init__("docker", timeout=limit_s)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@frozen
class Inspecting:
    """Asks the engine at C{host}, which is as C{DOCKER_HOST} has it."""

    host: str
    limit_s: float = CALL_LIMIT_S

    def one(self, container_id: str) -> Callable[[APIClient], Container]:
        """Return what gives one container by id or name."""

        def inspect(client: APIClient) -> Container:
            with closing(self._connection()) as connection:
                return _inspect(connection, client.api_version, container_id)

        return inspect

    def all_of(self, ids: Sequence[str]) -> Callable[[APIClient], list[Container]]:
        """Return what gives those containers of C{ids} that are there still."""

        def inspect(client: APIClient) -> list[Container]:
            found = []
            with closing(self._connection()) as connection:
                for container_id in ids:
                    with suppress(NotFound):
                        found.append(
                            _inspect(connection, client.api_version, container_id)
                        )
            return found

        return inspect

    def _connection(self) -> HTTPConnection:
        place = place_of(self.host)
        if isinstance(place, str):
            return _UnixConnection(place, self.limit_s)
        return HTTPConnection(*place, timeout=self.limit_s)


def _inspect(connection: HTTPConnection, version: str, container_id: str) -> Container:
    """Return one container; the connection can be used again, after a 404 too.

    @raise HaloyError: see L{refusal}, or L{EngineUnavailable}.
    """
    try:
        connection.request("GET", f"/v{version}/containers/{quote(container_id)}/json")
        answer = connection.getresponse()
        text = answer.read()
    except TimeoutError:
        raise EngineUnavailable(
            f"Docker did not answer within {connection.timeout:g} s"
        ) from None
    except (OSError, HTTPException) as problem:
        raise unreachable(problem) from None
    if answer.status != 200:
        raise refusal(answer.status, text)
    return container_from(json.loads(text))
