"""Bodies of requests: every field by name, nothing coerced, everything bounded."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from haloy.api import schema
from haloy.api.asked import choose_containers
from haloy.api.bodies import (
    AssembleBody,
    DeployBody,
    DigestsBody,
    ExecBody,
    PruneBody,
    SpaceBody,
    TokenBody,
    read_body,
)
from haloy.config.app_file import Target
from haloy.errors import InvalidValue
from haloy.model.event import Event
from tests.api.test_deployments import detail

ID = "01m83xb9j8bwez2bj0erpm4y3a"


def test_any_casing_and_null() -> None:
    """As the Go daemon takes them; what is C{null} is not given."""
    found = read_body({"COMMAND": ["ls"], "containerid": None}, ExecBody)
    assert found == ExecBody(("ls",))


def test_nested() -> None:
    """A target is read by its own rules, a manifest by its class."""
    target = {"name": "a", "port": 80}
    found = read_body({"deploymentID": ID, "targetConfig": target}, DeployBody)
    assert found == DeployBody(ID, Target(name="a", port="80"), None)
    manifest = {"Config": "c", "Layers": ["a"], "RepoTags": None}
    body = {"imageRef": "a:1", "config": "", "manifest": manifest}
    assert read_body(body, AssembleBody).manifest.layers == ("a",)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (ExecBody, 5, "body: must be a JSON object"),
        (ExecBody, {}, "command: is missing"),
        (ExecBody, {"command": None}, "command: is missing"),
        (ExecBody, {"command": "ls"}, "command: must be a list of texts"),
        (ExecBody, {"command": []}, "command: cannot be empty"),
        (ExecBody, {"command": [None]}, "command[0]: must be text"),
        (ExecBody, {"command": ["a"] * 1001}, "command: has more than 1000 entries"),
        (ExecBody, {"command": ["a\0"]}, "command[0]: must match"),
        (
            ExecBody,
            {"command": ["a"], "allContainers": 1},
            "allContainers: must be true",
        ),
        (ExecBody, {"command": ["a"], "x": 1}, "x: unknown field; known: command"),
        (DigestsBody, {"digests": ["sha256:"]}, "digests[0]: must match"),
        (
            SpaceBody,
            {"uploadSizeBytes": True},
            "uploadSizeBytes: must be a whole number",
        ),
        (
            SpaceBody,
            {"uploadSizeBytes": 1.5},
            "uploadSizeBytes: must be a whole number",
        ),
        (SpaceBody, {"uploadSizeBytes": -1}, "uploadSizeBytes: must be 0 or more"),
        (SpaceBody, {"uploadSizeBytes": 1 << 63}, "uploadSizeBytes: must be"),
        (PruneBody, {"appName": " "}, "appName: must be text, and not empty"),
        (TokenBody, {"name": "a", "scopes": ["x"]}, "scopes[0]: must be one of read"),
        (TokenBody, {"name": "a b", "scopes": ["read"]}, "name: must match"),
        (DeployBody, {"deploymentID": ID, "targetConfig": 5}, "targetConfig: must be"),
        (
            DeployBody,
            {"deploymentID": ID, "targetConfig": {}, "rollbackDeployConfig": []},
            "rollbackDeployConfig: must be an object",
        ),
        (
            AssembleBody,
            {"imageRef": "a", "config": "", "manifest": {"Layers": []}},
            "manifest.Layers: cannot be empty",
        ),
        (
            AssembleBody,
            {"imageRef": "a", "config": "", "manifest": {"Layer": []}},
            "manifest.Layer: unknown field",
        ),
        (
            AssembleBody,
            {"imageRef": "a", "config": "", "manifest": []},
            "manifest: must be a JSON object",
        ),
    ],
)
def test_odd_bodies(kind: type, body: Any, words: str) -> None:
    """The text begins with the field."""
    with pytest.raises(InvalidValue) as refused:
        read_body(body, kind)
    assert str(refused.value).startswith(words)


def test_what_is_left_of_answers() -> None:
    """A number in its bounds, a container by its beginning, a rollback, an event."""
    assert read_body({"uploadSizeBytes": 5}, SpaceBody).whole == 5
    assert choose_containers(["abc", "abd"], "ab", everything=False) == ["abc"]
    one = detail(1, "shop", "live").record
    shown = schema.deployment(evolve(one, rolled_back_from=one.id))
    assert shown["rolledBackFrom"] == one.id
    at = one.created_at
    written = schema.event(Event("health", "shop", "s-1", "healthy", "", at, 7))
    assert (written["seq"], "reason" in written) == (7, False)
    assert "seq" not in schema.event(Event("gap", "", "", "", "gone", at))
