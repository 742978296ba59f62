"""C{client.yaml}: the servers a person has added, and how their names are written.

Rules: C{spec/cli.md} 2.1 and 6, C{spec/config.md} section 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from attrs import field, frozen

from haloy.config.document import parse_document
from haloy.config.env_files import set_variable
from haloy.config.private import make_directory, write_private
from haloy.errors import ConfigError, Conflict, InvalidValue, NotFound
from haloy.model.names import parse_domain_name

FILE = "client.yaml"
ENV = ".env"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_PORT = re.compile(r"[1-9][0-9]{0,4}")


@frozen
class ServerEntry:
    """One server: the variable that holds its token, and what to trust it by."""

    token_env: str
    ca_file: str = ""


@frozen
class ClientFile:
    """The servers by C{host[:port]}, as they were written."""

    servers: Mapping[str, ServerEntry] = field(factory=dict)


def normalise_server(text: str, field: str = "server") -> str:
    """Return C{host[:port]} of a server's name or URL; scheme and path are dropped.

    @raise InvalidValue: there is no host in it.
    """
    url = text.strip()
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        raise InvalidValue(f"{text!r}: {problem}", field=field) from None
    if not host:
        raise InvalidValue(f"{text!r} is not a server name", field=field)
    # urlsplit lowers the host; the letter case of what was written is kept.
    written = parts.netloc.rpartition("@")[2]
    start = written.lower().find(host)
    kept = written[start : start + len(host)] if start >= 0 else host
    shown = f"[{kept}]" if ":" in kept else kept
    return shown if port is None else f"{shown}:{port}"


def split_server(server: str) -> tuple[str, int | None]:
    """Return host (no brackets) and port of a normalised server."""
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else None
    host, colon, port = server.rpartition(":")
    return (host, int(port)) if colon else (server, None)


def is_local(server: str) -> bool:
    """Return whether a normalised server is this machine, spoken to without TLS."""
    return split_server(server)[0].lower() in LOCAL


def base_url(server: str) -> str:
    """Return the URL of a normalised server: HTTPS but for this machine."""
    return f"{'http' if is_local(server) else 'https'}://{server}"


def token_variable(server: str) -> str:
    """Return the variable that C{server add} writes the token of C{server} to."""
    return "HALOY_API_TOKEN_" + re.sub(r"[^A-Za-z0-9_]+", "_", server).upper()


def read_client_file(folder: Path) -> ClientFile:
    """Return the servers in C{folder}; a missing file has none.

    @raise ConfigError: the file is not right.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ClientFile()
    document = parse_document(text, str(path), "yaml")
    value = document.value if document.value is not None else {}
    servers = value.get("servers") if isinstance(value, Mapping) else None
    if not isinstance(servers, Mapping | None) or not isinstance(value, Mapping):
        raise ConfigError("servers: wants a mapping", path=str(path), line=1)
    found = {}
    for name, entry in (servers or {}).items():
        token = entry.get("token_env") if isinstance(entry, Mapping) else None
        if not isinstance(token, str) or not token:
            raise ConfigError(
                f"servers.{name}.token_env is missing",
                path=str(path),
                line=document.line(("servers", str(name))),
            )
        found[str(name)] = ServerEntry(token, str(entry.get("ca_file") or ""))
    return ClientFile(found)


def add_server(
    folder: Path, text: str, token: str, *, force: bool = False, ca_file: str = ""
) -> tuple[str, str]:
    """Remember a server and its token; return its name and the token's variable.

    Everything is checked before anything is written (CLI section 9, point 10).

    @raise InvalidValue: no server name, or no token.
    @raise Conflict: it is known already and C{force} is not given, or another
        server's token is kept in the same variable.
    """
    server = normalise_server(text)
    host = split_server(server)[0]
    if host.lower() not in LOCAL and ":" not in host:
        parse_domain_name(host, "server")
    if not token.strip() or any(ord(one) < 0x20 for one in token):
        raise InvalidValue("is empty or has control characters", field="token")
    known = read_client_file(folder)
    if server in known.servers and not force:
        raise Conflict(f"{server} is known already; --force replaces its token")
    variable = token_variable(server)
    for other, entry in known.servers.items():
        if entry.token_env == variable and other != server:
            raise Conflict(
                f"{other} keeps its token in {variable} too; delete it first, "
                "or set that server's token by hand in client.yaml"
            )
    make_directory(folder)
    set_variable(folder / ENV, variable, token)
    entries = {**known.servers, server: ServerEntry(variable, ca_file)}
    _write(folder, ClientFile(entries))
    return server, variable


def delete_server(folder: Path, text: str) -> str:
    """Forget a server and its token; return its name. @raise NotFound: unknown."""
    server = normalise_server(text)
    known = read_client_file(folder)
    entry = known.servers.get(server)
    if entry is None:
        names = ", ".join(sorted(known.servers)) or "none"
        raise NotFound(f"{server} is not known (known: {names})")
    left = {name: one for name, one in known.servers.items() if name != server}
    _write(folder, ClientFile(left))
    set_variable(folder / ENV, entry.token_env, None)
    return server


def _write(folder: Path, file: ClientFile) -> None:
    servers = {
        name: {"token_env": entry.token_env}
        | ({"ca_file": entry.ca_file} if entry.ca_file else {})
        for name, entry in sorted(file.servers.items())
    }
    text = yaml.safe_dump({"servers": servers}, indent=4, sort_keys=False)
    write_private(folder / FILE, text.encode(), 0o644)
