"""Where haloyd keeps what: the configuration and the data directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

DEFAULT_CONFIG = "/etc/haloy"
DEFAULT_DATA = "/var/lib/haloy"


@frozen
class Directories:
    """The two directories and the names inside them (C{spec/daemon.md} 3.1)."""

    config: Path
    data: Path

    @property
    def config_file(self) -> Path:
        """C{haloyd.yaml}."""
        return self.config / "haloyd.yaml"

    @property
    def env_file(self) -> Path:
        """The environment file with the first token."""
        return self.config / ".env"

    @property
    def last_good_config(self) -> Path:
        """The copy of C{haloyd.yaml} that was last accepted."""
        return self.data / "haloyd.yaml.last-good"

    @property
    def lock(self) -> Path:
        """Held by the haloyd that uses the data directory."""
        return self.data / "haloyd.lock"

    @property
    def instance(self) -> Path:
        """The name of this haloyd, by which its containers know it."""
        return self.data / "instance-id"

    @property
    def instance_copy(self) -> Path:
        """The same once more, beside the database."""
        return self.database.parent / "instance-id"

    @property
    def database(self) -> Path:
        """The database, shared with the Go daemon's."""
        return self.data / "db" / "haloy.db"

    @property
    def certificates(self) -> Path:
        """Where certificates are kept."""
        return self.data / "certs"

    @property
    def snapshot(self) -> Path:
        """Who was served last."""
        return self.data / "proxy" / "intents.json"

    @property
    def api_socket(self) -> Path:
        """The proxy's way to the API."""
        return self.data / "api.sock"

    @property
    def layers(self) -> Path:
        """Uploaded layers by digest."""
        return self.data / "layers"

    @property
    def registries(self) -> Path:
        """Logins at registries."""
        return self.data / "registries.yaml"

    @property
    def access_log(self) -> Path:
        """One line for each request, where that is wanted."""
        return self.data / "logs" / "access.log"

    @property
    def manhole_socket(self) -> Path:
        """The Python prompt inside the daemon, where that is wanted."""
        return self.data / "manhole.sock"

    @property
    def manhole_key(self) -> Path:
        """The manhole's own SSH key."""
        return self.data / "manhole_host_key"

    @property
    def temporary(self) -> Path:
        """Files in flight."""
        return self.data / "tmp"


def find_directories(
    config: str | None, data: str | None, environment: Mapping[str, str]
) -> Directories:
    """Return the directories: option, else environment, else default.

    C{HALOY_CONFIG_DIR} and C{HALOY_DATA_DIR}; a leading C{~/} is expanded.
    """
    config = config or environment.get("HALOY_CONFIG_DIR") or DEFAULT_CONFIG
    data = data or environment.get("HALOY_DATA_DIR") or DEFAULT_DATA
    return Directories(
        config=Path(os.path.abspath(Path(config).expanduser())),
        data=Path(os.path.abspath(Path(data).expanduser())),
    )
