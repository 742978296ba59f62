"""The published JSON Schema of what C{--json} prints, from the classes of it.

C{python -m haloy.cli.output_schema docs/reference} writes it anew; a test fails when
it is not what this would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloy.api.class_schema import Schemas
from haloy.api.shapes import Action, Certificate, NewToken, Token
from haloy.cli import shapes

FILE = "haloy-output.schema.json"

#: command -> what it prints; for those of L{BY_LINE} that is one line.
PRINTED: Mapping[str, Any] = {
    "init": shapes.Written,
    "deploy": tuple[shapes.DeployedTarget, ...] | tuple[shapes.PlannedTarget, ...],
    "status": tuple[shapes.TargetStatus | shapes.TargetFailed, ...]
    | tuple[shapes.ServerApps | shapes.ServerFailed, ...],
    "logs": shapes.AppLine,
    "deployments": tuple[shapes.TargetDeployments | shapes.TargetFailed, ...],
    "diff": shapes.Difference,
    "cancel": shapes.Cancelled,
    "rollback": tuple[shapes.RolledBackTarget, ...],
    "rollback-targets": tuple[shapes.TargetKept | shapes.TargetFailed, ...],
    "stop": tuple[shapes.StoppedTarget, ...],
    "exec": tuple[shapes.TargetResults | shapes.TargetFailed, ...],
    "tunnel": shapes.TunnelOpen,
    "apps": tuple[shapes.ServerApps | shapes.ServerFailed, ...],
    "targets": tuple[shapes.TargetRow, ...],
    "prune-images": tuple[shapes.TargetPruned | shapes.TargetFailed, ...],
    "validate-config": shapes.Validated,
    "doctor": shapes.Diagnosis,
    "server add": shapes.ServerAdded,
    "server delete": shapes.ServerDeleted,
    "server list": tuple[shapes.KnownServer, ...],
    "server version": tuple[shapes.ServerVersion | shapes.ServerFailed, ...],
    "server logs": shapes.ServerLine,
    "server registry login": shapes.LoggedIn,
    "server registry logout": shapes.LoggedOut,
    "server registry list": tuple[shapes.ServerLogins, ...],
    "tokens list": tuple[Token, ...],
    "tokens create": NewToken,
    "tokens revoke": shapes.Revoked,
    "tokens audit": tuple[Action, ...],
    "certs list": tuple[Certificate, ...],
    "certs show": Certificate,
    "certs renew": Certificate,
    "certs import": Certificate,
    "version": shapes.Installed,
}
#: They print a document for each line.
BY_LINE = frozenset({"logs", "server logs", "tunnel"})


def output_schema(*, closed: bool = False) -> dict[str, Any]:
    """Return the schema; its root takes whatever any command prints.

    @param closed: refuse keys that are not described: for tests. Published it is open,
        since later versions add keys.
    """
    schemas = Schemas("#/$defs/", closed=closed)
    problem = schemas.reference(shapes.Problem)
    commands = {
        f"haloy {name}": {"anyOf": [schemas.of(printed), problem]}
        for name, printed in PRINTED.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Haloy's output with --json",
        "description": "What each command prints is in $defs by its name, as "
        "`haloy status`. `haloy logs`, `haloy server logs` and `haloy tunnel` print "
        "such a document on each line. Keys are added in later versions, never "
        "renamed; a Go daemon leaves out what it does not know.",
        "anyOf": [{"$ref": f"#/$defs/{name.replace(' ', '%20')}"} for name in commands],
        "$defs": {**commands, **schemas.by_name()},
    }


def command_schema(name: str) -> dict[str, Any]:
    """Return the closed schema of one command, as C{server list}."""
    whole = output_schema(closed=True)
    return {**whole["$defs"][f"haloy {name}"], "$defs": whole["$defs"]}


def render() -> str:
    """Return the content of the published file."""
    return json.dumps(output_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) / FILE).write_text(render(), encoding="utf-8")
