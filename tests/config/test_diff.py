from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from haloy.config.app_file import (
    DomainEntry,
    EnvVar,
    ImageConfig,
    ProxyEntry,
    Registry,
    ResourcesEntry,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.config.diff import Change, changes

BASE = Target(
    name="web",
    image=ImageConfig("nginx", "1"),
    replicas=2,
    env=(EnvVar("A", "1"), EnvVar("B", "2")),
    domains=(DomainEntry("a.com", ("www.a.com",)),),
    volumes=("d1:/d",),
)


def _changed(**said: Any) -> list[str]:
    return [str(one) for one in changes(BASE, evolve(BASE, **said))]


def test_the_same_target_has_no_changes() -> None:
    """Hooks and tokens are the client's own."""
    assert changes(BASE, BASE) == ()
    assert _changed(api_token=ValueSource("x"), pre_deploy=("a",)) == []


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        ({"replicas": 3}, ["~ replicas: 2 -> 3"]),
        ({"replicas": None}, ["- replicas: 2"]),
        ({"port": "80"}, ["+ port: 80"]),
        ({"protected": True}, ["+ protected: true"]),
        ({"image": ImageConfig("nginx", "2")}, ["~ image.tag: 1 -> 2"]),
        ({"volumes": ("d1:/d", "d2:/e")}, ["~ volumes: d1:/d -> d1:/d, d2:/e"]),
        ({"resources": ResourcesEntry(cpus=0.5)}, ["+ resources.cpus: 0.5"]),
        (
            {"proxy": ProxyEntry(headers={"X-A": "b"})},
            ["+ proxy.headers.X-A: b"],
        ),
        (
            {"domains": (DomainEntry("b.com"), *(BASE.domains or ()))},
            ["+ domains[b.com]"],
        ),
        (
            {"domains": (DomainEntry("a.com"),)},
            ["- domains[a.com].aliases: www.a.com"],
        ),
        (
            {"domains": (DomainEntry("b.com", ("www.b.com",)),)},
            [
                "+ domains[b.com]",
                "+ domains[b.com].aliases: www.b.com",
                "- domains[a.com]",
                "- domains[a.com].aliases: www.a.com",
            ],
        ),
    ],
)
def test_every_key_is_one_change(said: dict[str, Any], rows: list[str]) -> None:
    """Entries with a name are compared by it, whatever their place."""
    assert _changed(**said) == rows


def test_values_are_not_shown() -> None:
    """A literal may be a secret; that it changed is told."""
    env = (
        EnvVar("B", "2"),
        EnvVar("A", "hunter2"),
        EnvVar("C", "hunter3", build_arg=True),
        EnvVar("D", source=ValueFrom(env="D")),
    )
    assert _changed(env=env) == [
        "~ env[A].value: changed",
        "+ env[C].value: ***",
        "+ env[C].build_arg: true",
        "+ env[D].from.env: D",
    ]
    registry = Registry("r.io", ValueSource("u"), ValueSource("hunter2"))
    found = changes(
        BASE, evolve(BASE, image=ImageConfig("nginx", "1", None, None, registry))
    )
    assert "hunter2" not in str(found)
    assert Change("image.registry.server", None, "r.io") in found


def test_an_app_that_does_not_run_is_all_new() -> None:
    """Every key has a plus."""
    found = changes(None, BASE)
    assert str(found[0]) == "+ name: web"
    assert all(one.before is None for one in found)
