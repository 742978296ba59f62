"""What completes targets, servers and apps on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloy.config.client_file import client_folder, read_client_file
from haloy.config.load import find_app_file, load_app_file

#: Somebody waits with a finger on Tab.
LIMIT_S = 2.0


def names(what: str, said: Mapping[str, Any], incomplete: str) -> list[str]:
    """Return what completes C{incomplete}; whatever goes wrong gives nothing.

    @param what: C{targets}, C{servers} or C{apps}.
    @param said: the options on the command line so far.
    """
    head, comma, start = incomplete.rpartition(",") if what == "targets" else ("",) * 3
    start = start if what == "targets" else incomplete
    find = {"targets": _targets, "servers": _servers, "apps": _apps}[what]
    try:
        found = find(said)
    except Exception:  # a traceback on Tab helps nobody
        return []
    return [f"{head}{comma}{one}" for one in sorted(found) if one.startswith(start)]


def _targets(said: Mapping[str, Any]) -> list[str]:
    file = load_app_file(find_app_file(Path(str(said.get("config") or "."))))
    return list(file.targets or ([file.name] if file.name else []))


def _servers(_: Mapping[str, Any]) -> list[str]:
    return list(read_client_file(client_folder(os.environ, Path.home())).servers)


def _apps(said: Mapping[str, Any]) -> list[str]:
    """Ask the server for its apps."""
    from haloy.cli.context import choose_servers, client_for  # noqa: PLC0415
    from haloy.cli.options import Selection  # noqa: PLC0415
    from haloy.cli.running import run, together  # noqa: PLC0415

    selection = Selection(
        config=str(said.get("config") or "."), server=str(said.get("server") or "")
    )
    project, chosen = choose_servers(selection)

    async def ask(reactor: Any) -> list[Any]:
        return await together(
            client_for(reactor, project, one, LIMIT_S).apps() for one in chosen
        )

    return [
        str(app.get("appName"))
        for found in run(ask)
        if isinstance(found, list)
        for app in found
    ]
