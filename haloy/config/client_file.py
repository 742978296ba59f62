"""C{client.yaml}: the servers a person has added, and how their names are written.

Rules: C{spec/cli.md} 2.1 and 6, C{spec/config.md} section 10.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from haloy.config.client_edit import drop_server, put_server
from haloy.config.document import parse_document
from haloy.config.env_files import set_variable
from haloy.config.private import make_directory, write_private
from haloy.config.reading import read_text
from haloy.errors import (
    ConfigError,
    Conflict,
    InvalidValue,
    NotFound,
    Unauthorized,
)
from haloy.model.names import parse_domain_name

FILE = "client.yaml"
ENV = ".env"
TOKEN = "HALOY_API_TOKEN"  # noqa: S105  (the variable's name, not a token)
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@frozen
class ServerEntry:
    """One server: the variable that holds its token, and what to trust it by."""

    token_env: str = ""
    ca_file: str = ""


@frozen
class ClientFile:
    """The servers by C{host[:port]}, as they were written."""

    servers: Mapping[str, ServerEntry] = field(factory=dict)


def client_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Return the client's folder: C{HALOY_CONFIG_DIR} or C{~/.config/haloy}."""
    chosen = environment.get("HALOY_CONFIG_DIR", "")
    if chosen == "~" or chosen.startswith("~/"):
        return home / chosen[2:]
    return Path(chosen) if chosen else home / ".config" / "haloy"


def normalise_server(text: str, field: str = "server") -> str:
    """Return C{host[:port]} of a server's name or URL; scheme and path are dropped.

    @raise InvalidValue: there is no host in it, or it is not one of HTTP.
    """
    url = text.strip()
    scheme, marked, _ = url.partition("://")
    if marked and scheme.lower() not in ("http", "https"):
        raise InvalidValue(f"{text!r} is not an address by HTTPS", field=field)
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        reason = "the port must be 1 to 65535" if "Port" in str(problem) else problem
        raise InvalidValue(f"{text!r}: {reason}", field=field) from None
    if not host or not host.isprintable() or " " in host:
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

    An entry without C{token_env} is one whose token is given in another way.

    @raise ConfigError: the file is not right.
    """
    path = folder / FILE
    document = parse_document(_text(path), str(path), "yaml")
    value = {} if document.value is None else document.value
    servers = value.get("servers") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(servers, Mapping | None):
        raise ConfigError("servers: must be a mapping", path=str(path), line=1)
    found = {}
    for name, entry in (servers or {}).items():
        entry = {} if entry is None else entry
        said = {}
        for key in ("token_env", "ca_file"):
            text = entry.get(key, "") if isinstance(entry, Mapping) else 0
            if not isinstance(text, str | None):
                raise ConfigError(
                    f"servers.{name}.{key}: must be text",
                    path=str(path),
                    line=document.line(("servers", str(name), key)),
                )
            said[key] = text or ""
        found[str(name)] = ServerEntry(**said)
    return ClientFile(found)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def add_server(
    folder: Path, text: str, token: str, *, force: bool = False, ca_file: str = ""
) -> tuple[str, str]:
    """Remember a server and its token; return its name and the token's variable.

    Everything is checked before anything is written (CLI section 9, point 10).

    @raise InvalidValue: no server name, or no token.
    @raise Conflict: it is known already and C{force} is not given.
    """
    server = normalise_server(text)
    host = split_server(server)[0]
    if host.lower() not in LOCAL and not _is_address(host):
        parse_domain_name(host, "server")
    if not token.strip() or any(ord(one) < 0x20 for one in token):
        raise InvalidValue("is empty or has control characters", field="token")
    known = read_client_file(folder)
    existing = known.servers.get(server)
    if existing is not None and not force:
        raise Conflict(f"{server} is known already; --force replaces its token")
    taken = {one.token_env for name, one in known.servers.items() if name != server}
    variable = (existing and existing.token_env) or _free_variable(server, taken)
    wanted = ServerEntry(variable, ca_file or (existing.ca_file if existing else ""))
    text = _text(folder / FILE)
    if wanted != existing:
        text = put_server(text, server, _as_mapping(wanted))
    make_directory(folder)
    set_variable(folder / ENV, variable, token)
    write_private(folder / FILE, text.encode(), 0o644)
    return server, variable


def delete_server(folder: Path, text: str) -> str:
    """Forget a server and its token; return its name. @raise NotFound: unknown.

    A variable that another server's entry names too stays.
    """
    server = normalise_server(text)
    known = read_client_file(folder)
    entry = known.servers.get(server)
    if entry is None:
        names = ", ".join(sorted(known.servers)) or "none"
        raise NotFound(f"{server} is not known (known: {names})")
    others = {one.token_env for name, one in known.servers.items() if name != server}
    left = drop_server(_text(folder / FILE), server)
    write_private(folder / FILE, left.encode(), 0o644)
    if entry.token_env and entry.token_env not in others:
        set_variable(folder / ENV, entry.token_env, None)
    return server


def find_token(server: str, environment: Mapping[str, str], client: ClientFile) -> str:
    """Return the token of a normalised server: its own variable, else the general one.

    A target's C{api_token} comes before both and is the caller's.

    @raise Unauthorized: there is none; the text says what to do.
    """
    entry = client.servers.get(server)
    own = environment.get(entry.token_env, "") if entry and entry.token_env else ""
    token = own or environment.get(TOKEN, "")
    if not token:
        variable = entry.token_env if entry and entry.token_env else TOKEN
        raise Unauthorized(
            f"no token for {server}: run `haloy server add {server} TOKEN`, "
            f"or set {variable}"
        )
    return token


def _free_variable(server: str, taken: Collection[str]) -> str:
    """Return the variable for C{server}; a-b.com and a.b.com do not share one."""
    variable, number = token_variable(server), 1
    while variable in taken:
        number += 1
        variable = f"{token_variable(server)}_{number}"
    return variable


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""


def _as_mapping(entry: ServerEntry) -> dict[str, str]:
    return {"token_env": entry.token_env} | (
        {"ca_file": entry.ca_file} if entry.ca_file else {}
    )
