"""What a command works on: the configuration, its targets, and clients for servers.

Selection rules: C{spec/cli.md} section 3, with a stable order and grouping by the
normalised server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import define, field, frozen

from haloy.config.app_file import AppFile, Target
from haloy.config.client_file import (
    ClientFile,
    base_url,
    client_folder,
    find_token,
    normalise_server,
    read_client_file,
)
from haloy.config.env_files import environment
from haloy.config.load import find_app_file, load_app_file
from haloy.config.merge import targets
from haloy.config.secrets import Secrets
from haloy.errors import ConfigError, HaloyError, InvalidValue

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Selected:
    """One chosen target; C{name} is its key, C{target} is merged."""

    name: str
    target: Target
    server: str

    @property
    def app(self) -> str:
        """The app's name."""
        return self.target.name or self.name


@define(eq=False)
class Project:
    """A configuration file with its folder and the environment it is read with."""

    path: Path
    file: AppFile
    client_folder: Path
    servers: ClientFile
    _process: Mapping[str, str] = field(factory=lambda: dict(os.environ))

    @property
    def folder(self) -> Path:
        """Where the configuration lies: hooks and build contexts start here."""
        return self.path.parent

    def environment(self, target: str | None = None) -> dict[str, str]:
        """Return the variables that count for C{target}."""
        folders = (self.folder, Path(), self.client_folder)
        return environment(self._process, folders, target)

    def select(self, names: tuple[str, ...], everything: bool) -> list[Selected]:
        """Return the chosen targets in a stable order.

        @raise InvalidValue: none was chosen, or an unknown one.
        """
        merged = targets(self.file, tuple(self.servers.servers))
        if names and everything:
            raise click.UsageError("give --targets or --all, not both")
        if not self.file.targets:
            chosen = self._only(merged, names)
        elif everything:
            chosen = sorted(merged)
        elif names:
            chosen = self._named(merged, names)
        else:
            raise click.UsageError(
                "this configuration has several targets: choose with --targets "
                f"({', '.join(sorted(merged))}) or take --all"
            )
        return [
            Selected(one, merged[one], normalise_server(merged[one].server or ""))
            for one in chosen
        ]

    def _only(self, merged: dict[str, Target], names: tuple[str, ...]) -> list[str]:
        """Take the one target there is; its name may be said."""
        unknown = [name for name in names if name not in merged]
        if unknown:
            raise InvalidValue(
                f"there is only one app here, {next(iter(merged))}", field="--targets"
            )
        return list(merged)

    def _named(self, merged: dict[str, Target], names: tuple[str, ...]) -> list[str]:
        for name in names:
            if name not in merged:
                raise InvalidValue(
                    f"there is no target {name!r} (known: {', '.join(sorted(merged))})",
                    field="--targets",
                )
        return list(dict.fromkeys(names))

    def resolve(self, one: Selected) -> Target:
        """Return the target with literal values everywhere."""
        secrets = Secrets(
            self.environment(one.name), self.file.secret_providers, self.folder
        )
        return secrets.resolve(one.target)

    def token(self, one: Selected) -> str:
        """Return the token for a target's server. @raise ConfigError: none."""
        variables = self.environment(one.name)
        if one.target.api_token is not None:
            secrets = Secrets(variables, self.file.secret_providers, self.folder)
            token = secrets.value(one.target.api_token, "api_token")
            if token:
                return token
        return find_token(one.server, variables, self.servers)


def load_project(config: str) -> Project:
    """Return the project at C{--config}. @raise ConfigError: with file and line."""
    path = find_app_file(Path(config))
    folder = client_folder(os.environ, Path.home())
    return Project(path, load_app_file(path), folder, read_client_file(folder))


def client_for(reactor: Any, project: Project, one: Selected, limit_s: float) -> Any:
    """Return the API client for a target's server."""
    entry = project.servers.servers.get(one.server)
    ca_file = entry.ca_file if entry is not None else ""
    return make_client(reactor, one.server, project.token(one), ca_file, limit_s)


def make_client(
    reactor: Any, server: str, token: str, ca_file: str, limit_s: float
) -> Any:
    """Return an API client; C{ca_file} or SSL_CERT_FILE say what to trust."""
    # Commands that speak to no server do not pay for TLS and HTTP.
    from haloy.api.agent import client_agent, client_endpoints  # noqa: PLC0415
    from haloy.api.client import ApiClient  # noqa: PLC0415
    from haloy.api.transport import Transport  # noqa: PLC0415

    trusted = ca_file or os.environ.get("SSL_CERT_FILE", "")
    return ApiClient(
        Transport(
            reactor,
            client_agent(reactor, trusted),
            base_url(server),
            token,
            limit_s,
            client_endpoints(reactor, trusted),
        )
    )


def by_server(chosen: list[Selected]) -> dict[str, list[Selected]]:
    """Return the targets grouped by server, both in their order."""
    groups: dict[str, list[Selected]] = {}
    for one in chosen:
        groups.setdefault(one.server, []).append(one)
    return groups


def target_options(command: F) -> F:
    """Add C{--config}, C{--targets} and C{--all}."""
    everything = click.option(
        "-a", "--all", "everything", is_flag=True, help="All targets."
    )
    names = click.option(
        "-t",
        "--targets",
        "--target",
        "names",
        multiple=True,
        callback=_split,
        help="Targets, several by commas or by repeating.",
    )
    config = click.option(
        "-c",
        "--config",
        default=".",
        show_default=True,
        help="Configuration file, or the folder it is in.",
    )
    return config(names(everything(command)))


def limit_option(command: F) -> F:
    """Add C{--timeout}."""
    return click.option(
        "--timeout",
        "limit_s",
        type=click.FloatRange(1, 3600),
        default=30.0,
        show_default=True,
        help="Seconds to wait for an answer.",
    )(command)


def _split(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(
        part.strip() for value in values for part in value.split(",") if part.strip()
    )


def located(problem: HaloyError, project: Project) -> HaloyError:
    """Return a problem of a value with the file it stands in."""
    if isinstance(problem, InvalidValue):
        return ConfigError(str(problem), path=str(project.path))
    return problem
