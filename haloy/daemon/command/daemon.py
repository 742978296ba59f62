"""Ask the daemon that runs here, by its API on loopback."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from haloy.config.client_file import split_server
from haloy.config.daemon_file import DaemonFile
from haloy.daemon.paths import Directories
from haloy.daemon.settings import present_settings, read_token
from haloy.errors import ConfigError, HaloyError, NotFound

LIMIT_S = 30.0


class NotRunning(HaloyError):
    """No daemon answers on this machine."""

    code = "not-running"


@frozen
class LocalDaemon:
    """Where it is, and the token of its own environment file."""

    listen: str
    token: str

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the JSON of an answer, empty when there is none.

        @raise NotRunning: nobody answers.
        @raise HaloyError: it refuses, in its own words.
        """
        host, port = split_server(self.listen)
        connection = http.client.HTTPConnection(
            host or "127.0.0.1", port or 0, timeout=LIMIT_S
        )
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self.token}"},
            )
            answer = connection.getresponse()
            content = answer.read()
        except OSError as problem:
            raise NotRunning(f"haloyd does not answer at {self.listen}") from problem
        finally:
            connection.close()
        text = content.decode(errors="replace").strip()
        if answer.status == 404:
            raise NotFound(text)
        if answer.status >= 400:
            raise HaloyError(text or f"haloyd answers {answer.status}")
        found = json.loads(text) if text else {}
        return found if isinstance(found, dict) else {}


def local_daemon(chosen: Directories) -> LocalDaemon:
    """Return how to ask the daemon of these directories.

    @raise ConfigError: one runs, and there is no token here.
    """
    settings: DaemonFile = present_settings(chosen).file
    try:
        token = read_token(chosen)
    except ConfigError:
        if runs(chosen):
            raise
        token = ""
    return LocalDaemon(settings.api.listen, token)


def runs(chosen: Directories) -> bool:
    """Return whether a daemon answers that is (or would be) the one of C{chosen}."""
    try:
        LocalDaemon(present_settings(chosen).file.api.listen, "").ask("GET", "/health")
    except HaloyError:
        return False
    return True
