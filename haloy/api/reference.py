"""The reference of the API, written from its routes and classes.

C{python -m haloy.api.reference docs/reference} writes it anew; a test fails when it is
not what it would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from haloy.api.about import CAPABILITIES
from haloy.api.catalogue import ROUTES, Route
from haloy.api.openapi import openapi

_HEAD = """\
# The API of haloyd

HTTP/1.1 on loopback, and over HTTPS by `api.domain`. `GET /v1/openapi.json` is this
page for machines (OpenAPI 3.1). The routes that the Go daemon has are the same on the
wire, so that its command drives this daemon too.

- A token goes in `Authorization: Bearer TOKEN`. The scopes below are those that a token
  needs: `deploy` and `exec` include `read`, and `admin` includes all. A token that is
  limited to some apps sees and changes only those, and can name images only after them.
- An error is one line of text, with a word for programs in `X-Haloy-Error`. An unknown
  path is `no-route`, a known one with another method `method-not-allowed`; a 404 with
  `not-found` is about the thing that was asked for. Every 401 has the same text. A 403
  is `forbidden` if the token does not allow the call, and `policy` if the rules of the
  server do not.
- Each token may make 5 requests a second (bursts of 10), and 50 (100) for layers; more
  get 429 with `Retry-After`. Ten failed authentications a minute from one address get
  429, too; others never hold up a valid token. `GET /health` is never refused.
- On its own port the API answers to the names of loopback, to IP addresses and to its
  domain. Any other `Host` gets 421; a missing or repeated one gets 400.
- JSON may have 4 MiB (32 MiB for lists of layers and their image), a layer or an
  archive 16 GiB. A body that brings less than 16 KiB in a minute gets 408; one that
  stops entirely ends its connection. Unknown fields are refused by name.
- A stream is `text/event-stream`, with a comment every 30 s. A client that reads
  nothing for a minute is disconnected. Where events have an `id`, `Last-Event-ID`
  continues after it. Streams, tunnels and terminals end when their token is revoked or
  expires.
- A stop answers when everything has stopped, or after 25 s while it continues; the
  error names what could not be stopped.
- With Docker away, routes that need it answer 503 with the reason.
"""


def render_reference() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    document = openapi("")
    schemas: Mapping[str, Any] = document["components"]["schemas"]
    yield "## Capabilities\n"
    yield "`GET /v1/version` names them: " + ", ".join(
        f"`{one}`" for one in CAPABILITIES
    )
    yield "\n## Routes\n"
    yield "| route | scope | answers | what |"
    yield "|---|---|---|---|"
    for route in ROUTES:
        yield (
            f"| `{route.method} {route.path}` | {_scope(route)} | {_answer(route)} "
            f"| {route.text}{_query(route)} |"
        )
    yield "\n## Objects\n"
    yield "Types are JSON's; what has a `?` may be left out."
    for name, schema in schemas.items():
        yield f"\n### {name}\n"
        described = schema.get("description")
        if described:
            yield f"{described}\n"
        yield from _fields(schema)
    yield _TERMINAL


def _scope(route: Route) -> str:
    if route.scope is None:
        return "no token"
    return f"`{route.scope}`" if route.scope else "any token"


def _answer(route: Route) -> str:
    shape = route.stream or route.answer
    text = str(route.status)
    if shape is not None:
        name = shape.__name__
        text += f" {'stream of ' if route.stream else ''}[{name}](#{name.lower()})"
    return text + (f" `Upgrade: {route.upgrade}`" if route.upgrade else "")


def _query(route: Route) -> str:
    parts = [f" `{one.name}`: {one.text}" for one in (*route.query, *route.headers)]
    if route.body is not None:
        name = route.body.__name__
        parts.insert(0, f" Takes [{name}](#{name.lower()}).")
    if route.raw:
        parts.insert(0, f" Takes `{route.raw}`.")
    return "".join(parts)


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | type | |"
    yield "|---|---|---|"
    for key, one in schema["properties"].items():
        left_out = "" if key in schema.get("required", ()) else "?"
        text = str(one.get("description", "")).replace("|", "\\|")
        yield f"| `{key}`{left_out} | {_type(one)} | {text} |"


def _type(one: Mapping[str, Any]) -> str:
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in one:
        return " or ".join(_type(each) for each in one["anyOf"])
    kind = one.get("type", "any")
    if "array" in kind:
        text = f"list of {_type(one['items'])}"
        return f"{text} or null" if isinstance(kind, list) else text
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


_TERMINAL = """
## Interactive commands

`GET /v1/exec/{app}` with `Upgrade: websocket`. The client's first message is text:
`{"type": "start", "command": ["sh"], "tty": true, "columns": 80, "rows": 24}`, with
`containerId` on wish. The server answers `{"type": "started", "containerId": "…"}`;
from then on bytes from the client are input, and bytes from the server are output
behind one byte: 1 for stdout, 2 for stderr. The client may send `{"type": "resize",
"columns": 132, "rows": 50}` and `{"type": "end"}` (of the input). `{"type": "exit",
"code": 0}` or `{"type": "error", "code": "…", "reason": "…"}` is the last message; its
code is `stopped` when haloyd is being stopped. That, and a client that leaves, ends the
command with all that it has started; it needs `grep` and a shell in the image where
haloyd is not root.
"""


def main(folder: str) -> None:
    """Write the page into C{folder}."""
    (Path(folder) / "api.md").write_text(render_reference(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
