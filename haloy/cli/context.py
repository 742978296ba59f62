"""What a command works on: the configuration, its targets, and clients for servers.

Selection rules: C{spec/cli.md} section 3, with a stable order and grouping by the
normalised server.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import click
from attrs import define, evolve, field, frozen

from haloy.cli.echo import echo
from haloy.cli.options import Selection
from haloy.config.app_file import AppFile, Target
from haloy.config.client_file import (
    ClientFile,
    base_url,
    client_folder,
    find_token,
    normalise_server,
    read_client_file,
)
from haloy.config.env_files import environment, odd_lines
from haloy.config.load import (
    NAMES,
    AppDocument,
    find_app_file,
    load_app_document,
    parse_app_document,
)
from haloy.config.merge import InvalidTarget, targets
from haloy.config.secrets import Secrets
from haloy.errors import ConfigError, HaloyError, InvalidValue


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
    document: AppDocument
    client_folder: Path
    servers: ClientFile
    _process: Mapping[str, str] = field(factory=lambda: dict(os.environ))

    @property
    def file(self) -> AppFile:
        """What the file says."""
        return self.document.file

    @property
    def folder(self) -> Path:
        """Where the configuration lies: hooks and build contexts start here."""
        return self.path.parent

    def environment(self, target: str | None = None) -> dict[str, str]:
        """Return the variables that count for C{target}."""
        return environment(self._process, self._env_folders, target)

    def odd_lines(self, chosen: Iterable[Selected]) -> list[str]:
        """Return what is said of each line in their C{.env} files that is left out."""
        found = [odd_lines(self._env_folders, one.name) for one in chosen]
        return [
            f"{place}: is no NAME=value and does not count"
            for place in dict.fromkeys(chain.from_iterable(found))
        ]

    @property
    def _env_folders(self) -> tuple[Path, ...]:
        return self.folder, Path(), self.client_folder

    def select(
        self, names: tuple[str, ...], everything: bool, app: str = ""
    ) -> list[Selected]:
        """Return the chosen targets in a stable order.

        @raise InvalidValue: an unknown one was chosen.
        @raise ConfigError: what merging needs is not right, with file and line.
        """
        if names and everything:
            raise click.UsageError("give --targets or --all, not both")
        merged = self._merged()
        if names:
            chosen = [_known(name, merged, "target", "--targets") for name in names]
        elif app:
            owners = {merged[key].name or key: key for key in merged}
            chosen = [owners[_known(app, owners, "app", "--app")]]
        elif everything or len(merged) == 1:
            chosen = sorted(merged)
        else:
            raise click.UsageError(
                "this configuration has several targets: choose with --targets "
                f"({', '.join(sorted(merged))}) or take --all"
            )
        return [
            Selected(one, merged[one], self._server(one, merged[one]))
            for one in dict.fromkeys(chosen)
        ]

    def _merged(self) -> dict[str, Target]:
        try:
            return targets(self.file, tuple(self.servers.servers))
        except InvalidTarget as problem:
            raise self.document.error(problem, problem.target) from None

    def _server(self, name: str, target: Target) -> str:
        try:
            return normalise_server(target.server or "")
        except InvalidValue as problem:
            raise self.located(problem, name) from None

    def located(self, problem: InvalidValue, name: str) -> ConfigError:
        """Return a problem of a target's value with file, line and column."""
        return self.document.error(problem, name if self.file.targets else "")

    def resolve(self, one: Selected) -> Target:
        """Return the target with literal values everywhere."""
        return self._secrets(one).resolve(one.target)

    def _secrets(self, one: Selected) -> Secrets:
        return Secrets(
            self.environment(one.name),
            self.file.secret_providers,
            self.folder,
            lambda text: echo(f"● {text}", err=True),
        )

    def token(self, one: Selected) -> str:
        """Return the token for a target's server. @raise Unauthorized: none."""
        if one.target.api_token is not None:
            try:
                token = self._secrets(one).value(one.target.api_token, "api_token")
            except InvalidValue as problem:
                raise self.located(problem, one.name) from None
            if token:
                return token
        return find_token(one.server, self.environment(one.name), self.servers)


def _known(name: str, among: Iterable[str], what: str, option: str) -> str:
    """Return C{name}. @raise InvalidValue: it is none; the nearest is suggested."""
    known = sorted(among)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    raise InvalidValue(f"there is no {what} {name!r}; {hint}", field=option)


# --- projects -------------------------------------------------------------------


def load_project(config: str) -> Project:
    """Return the project at C{--config}. @raise ConfigError: with file and line."""
    path = find_app_file(Path(config))
    folder = client_folder(os.environ, Path.home())
    return Project(path, load_app_document(path), folder, read_client_file(folder))


def empty_project() -> Project:
    """Return a project without a configuration: only the client's own folder."""
    folder = client_folder(os.environ, Path.home())
    nothing = parse_app_document("", "", "yaml")
    return Project(Path("haloy.yaml"), nothing, folder, read_client_file(folder))


def has_config(selection: Selection) -> bool:
    """Return whether there is a configuration where it is looked for."""
    path = Path(selection.config)
    return selection.config != "." or any((path / name).exists() for name in NAMES)


def choose(selection: Selection) -> tuple[Project, list[Selected]]:
    """Return what was selected, by a configuration or without one.

    @raise HaloyError: nothing, or something unknown.
    """
    if selection.server or (selection.app and not has_config(selection)):
        if not selection.app:
            raise click.UsageError("--server needs --app: which app on it?")
        project = empty_project()
        server = _server_of(project, selection)
        return project, [
            Selected(selection.app, Target(name=selection.app, server=server), server)
        ]
    project = load_project(selection.config)
    chosen = project.select(selection.names, selection.everything, selection.app)
    return project, chosen


def choose_servers(selection: Selection) -> tuple[Project, list[Selected]]:
    """Return one target for each server that was selected.

    C{--server}; else those of the configuration's targets; else the only one added.
    """
    if selection.server or not has_config(selection):
        project = empty_project()
        server = _server_of(project, selection)
        return project, [Selected(server, Target(server=server), server)]
    project = load_project(selection.config)
    everything = selection.everything or not selection.names
    chosen = project.select(selection.names, everything)
    groups = by_server(sorted(chosen, key=lambda one: one.name))
    return project, [
        evolve(group[0], name=server if len(groups) > 1 else group[0].name)
        for server, group in groups.items()
    ]


def only_server(selection: Selection) -> tuple[Project, Selected]:
    """Return the one server that was selected. @raise UsageError: several."""
    project, chosen = choose_servers(selection)
    if len(chosen) > 1:
        names = ", ".join(one.server for one in chosen)
        raise click.UsageError(
            f"this works on one server: choose with --server ({names})"
        )
    return project, chosen[0]


def _server_of(project: Project, selection: Selection) -> str:
    """Return C{--server}, or the only server that has been added."""
    if selection.server:
        return normalise_server(selection.server, "--server")
    known = sorted(project.servers.servers)
    if len(known) == 1:
        return known[0]
    if known:
        raise click.UsageError(f"choose with --server ({', '.join(known)})")
    raise ConfigError(
        f"there is no {NAMES[1]} here and no server has been added: "
        "`haloy init` writes the one, `haloy server add URL TOKEN` does the other"
    )


# --- clients ----------------------------------------------------------------------


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
            client_agent(reactor, trusted, os.environ),
            base_url(server),
            token,
            limit_s,
            client_endpoints(reactor, trusted, os.environ),
        )
    )


def by_server(chosen: list[Selected]) -> dict[str, list[Selected]]:
    """Return the targets grouped by server, both in their order."""
    groups: dict[str, list[Selected]] = {}
    for one in chosen:
        groups.setdefault(one.server, []).append(one)
    return groups


def failed_of(found: Iterable[Any]) -> list[HaloyError]:
    """Return the problems among answers."""
    return [one for one in found if isinstance(one, HaloyError)]
