"""C{registries.yaml}: the daemon's own logins at registries, mode 0600.

The same file as the Go daemon's (C{spec/daemon.md} section 14), so that a server
can switch either way. Passwords leave it only for Docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import define

from haloy.config.document import parse_document
from haloy.config.images import normalise_registry
from haloy.config.private import write_private
from haloy.errors import ConfigError


@define(eq=False)
class RegistryFile:
    """Reads and writes the file; small, and rarely touched."""

    _path: Path

    def logins(self) -> dict[str, tuple[str, str]]:
        """Return (username, password) by registry. @raise ConfigError: the line."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        document = parse_document(text, str(self._path), "yaml")
        found = document.value or {}
        entries = found.get("registries") if isinstance(found, Mapping) else None
        logins = {}
        for server, entry in (entries or {}).items():
            try:
                logins[normalise_registry(str(server))] = (
                    str(entry["username"]["value"]),
                    str(entry["password"]["value"]),
                )
            except (KeyError, TypeError):
                raise ConfigError(
                    f"registries.{server}: needs username.value and password.value",
                    path=str(self._path),
                    line=document.line(("registries", str(server))),
                ) from None
        return logins

    def put(self, server: str, username: str, password: str) -> None:
        """Keep a login, in the place of the one before."""
        self._write({**self.logins(), server: (username, password)})

    def drop(self, server: str) -> bool:
        """Forget a login; return whether there was one."""
        logins = self.logins()
        if logins.pop(server, None) is None:
            return False
        self._write(logins)
        return True

    def _write(self, logins: Mapping[str, tuple[str, str]]) -> None:
        entries: dict[str, Any] = {
            server: {
                "server": server,
                "username": {"value": username},
                "password": {"value": password},
            }
            for server, (username, password) in sorted(logins.items())
        }
        text = yaml.safe_dump({"registries": entries}, sort_keys=False)
        write_private(self._path, text.encode())
