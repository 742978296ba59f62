"""From a kept deployment to a request that brings it back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from haloy.config.app_file import (
    DomainEntry,
    EnvVar,
    History,
    ImageConfig,
    Registry,
    ResourcesEntry,
    Target,
    ValueSource,
)
from haloy.deploy.images import Source, source_of
from haloy.deploy.rollback import rollback_entry, rollback_target, shared_rows
from haloy.errors import InvalidValue
from haloy.model.names import AppName, DeploymentId
from haloy.store.deployments import DeploymentRow

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STORED: dict[str, Any] = {
    "name": "shop",
    "server": "s.example.com",
    "image": {
        "repository": "shop",
        "build": True,
        "history": {"strategy": "local", "count": 3},
    },
    "env": [{"name": "DB", "from": {"secret": "op:db"}}],
    "resources": {"memory": "512MB"},
    "deploymentStrategy": "blue_green",
    "secretProviders": {"onepassword": {}},
    "targets": {},
}


def row(stored: dict[str, Any], ref: str = "shop:01one") -> DeploymentRow:
    return DeploymentRow(
        1,
        AppName("shop"),
        DeploymentId("01one"),
        "retired",
        {},
        stored,
        "f",
        ref,
        "sha256:1",
        "",
        None,
        "",
        "",
        NOW,
    )


def test_entry() -> None:
    """Clients get the stored configuration with the image that ran."""
    entry = rollback_entry(row(STORED))
    assert (entry.id, entry.image_ref) == ("01one", "shop:01one")
    assert entry.config["image"] == {**STORED["image"], "tag": "01one"}
    assert entry.config["secretProviders"] == {"onepassword": {}}


def test_what_an_old_client_loses_comes_back() -> None:
    """Keys that the request lacks are those of then, but never unresolved secrets."""
    config = Target(
        name="shop",
        server="s.example.com",
        env=(EnvVar("DB", "resolved"),),
        deployment_strategy="rolling",
    )
    target = rollback_target(row(STORED), config)
    assert target.resources == ResourcesEntry(memory="512MB")
    assert target.deployment_strategy == "rolling"
    assert target.env == (EnvVar("DB", "resolved"),)
    assert target.image == ImageConfig(
        "shop", "01one", build=True, history=History("local", 3)
    )
    assert source_of(target.image) is Source.LOCAL
    bare = rollback_target(row(STORED), Target(name="shop", server="s"))
    assert bare.env is None


def test_image_that_was_pulled() -> None:
    """Its own tag here is no registry's: nothing is pulled by that name (D10)."""
    image = {"repository": "nginx", "history": {"strategy": "local", "count": 3}}
    kept = rollback_entry(row({**STORED, "image": image})).config["image"]
    assert kept == {
        "repository": "shop",
        "tag": "01one",
        "pullPolicy": "never",
        "build": False,
        "history": {"strategy": "local", "count": 3},
    }


def test_history_in_a_registry() -> None:
    """The version of then is pulled by its own tag, with the login of now."""
    image = {
        "repository": "r.example.com/shop",
        "tag": "v7",
        "buildConfig": {"push": "registry"},
        "history": {"strategy": "registry", "count": 3, "pattern": "v*"},
        "registry": {"username": {"from": {"env": "U"}}},
    }
    login = Registry(username=ValueSource("me"), password=ValueSource("p"))
    config = Target(name="shop", server="s", image=ImageConfig("x", registry=login))
    target = rollback_target(row({**STORED, "image": image}), config)
    assert target.image is not None
    assert (target.image.repository, target.image.tag) == ("r.example.com/shop", "v7")
    assert target.image.registry == login
    assert target.image.build is False


def test_row_of_another_version() -> None:
    """A stored configuration with unknown keys costs only its own keys."""
    config = Target(name="shop", server="s", domains=(DomainEntry("a.example.com"),))
    target = rollback_target(row({**STORED, "future": 1}), config)
    assert target.domains == config.domains
    assert target.resources is None
    assert rollback_target(row({"image": "?"}), config).image == ImageConfig(
        "shop", "01one", pull_policy="never", build=False
    )


def test_together_they_must_be_right() -> None:
    """What the two make together is validated like any request (A1)."""
    stored = {**STORED, "namingStrategy": "static"}
    config = Target(name="shop", server="s", deployment_strategy="rolling")
    with pytest.raises(InvalidValue):
        rollback_target(row(stored), config)


def test_rows_for_the_go_daemon() -> None:
    """It finds the configuration verbatim and the image by its deployment tag."""
    stored, image = shared_rows(row(STORED), ImageConfig("repo", "v1", build=True))
    assert stored == STORED
    assert image == {"repository": "shop", "tag": "01one", "build": True}
