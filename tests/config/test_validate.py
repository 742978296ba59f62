from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from haloy.config.app_file import (
    BuildArg,
    BuildConfig,
    DomainEntry,
    EnvVar,
    History,
    ImageConfig,
    ProxyEntry,
    Registry,
    ResourcesEntry,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.config.validate import (
    validate_received,
    validate_target,
    validate_volume,
    warnings,
)
from haloy.errors import InvalidValue

GOOD = Target(
    name="web",
    server="localhost",
    image=ImageConfig(repository="nginx", tag="1"),
    deployment_strategy="rolling",
    health_check_path="/",
    port="8080",
    replicas=1,
    min_ready_seconds=0,
)
LOGIN = ValueSource("x")


def _field(target: Target) -> str:
    with pytest.raises(InvalidValue) as caught:
        validate_target(target)
    return caught.value.field


def _image(**said: Any) -> Target:
    return evolve(GOOD, image=evolve(GOOD.image or ImageConfig(), **said))


def test_a_merged_target_is_right() -> None:
    """The least a client sends passes."""
    validate_target(GOOD)
    validate_received(GOOD)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a.b"}, "name"),
        ({"server": None}, "server"),
        ({"preset": "foo"}, "preset"),
        ({"preset": "default"}, "preset"),
        ({"image_key": "x"}, "image_key"),
        ({"naming_strategy": "static"}, "naming_strategy"),
        ({"naming_strategy": "zz"}, "naming_strategy"),
        (
            {
                "naming_strategy": "static",
                "deployment_strategy": "replace",
                "replicas": 2,
            },
            "replicas",
        ),
        ({"deployment_strategy": "zz"}, "deployment_strategy"),
        ({"domains": (DomainEntry("*.com"),)}, "domains[0].domain"),
        (
            {"domains": (DomainEntry("a.com", ("b.com", "b_c.com")),)},
            "domains[0].aliases[1]",
        ),
        ({"env": (EnvVar("", "x"),)}, "env[0].name"),
        ({"env": (EnvVar("A=B", "x"),)}, "env[0].name"),
        ({"env": (EnvVar("OK", "x"), EnvVar("A"))}, "env[1] (A)"),
        ({"env": (EnvVar("A", ""),)}, "env[0] (A)"),
        ({"env": (EnvVar("A", "x\0y"),)}, "env[0] (A)"),
        ({"env": (EnvVar("A", "x", ValueFrom(env="B")),)}, "env[0] (A)"),
        ({"env": (EnvVar("A", source=ValueFrom()),)}, "env[0] (A).from"),
        (
            {"env": (EnvVar("A", source=ValueFrom(env="B", secret="c")),)},
            "env[0] (A).from",
        ),
        ({"port": "0"}, "port"),
        ({"port": "70000"}, "port"),
        ({"port": "abc"}, "port"),
        ({"port": "80.5"}, "port"),
        ({"port": ""}, "port"),
        ({"volumes": ("data:/d", "./d:/d")}, "volumes[1]"),
        ({"health_check_path": "x"}, "health_check_path"),
        ({"health_check_path": "/ HTTP/1.1\r\nX: y"}, "health_check_path"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 1001}, "replicas"),
        ({"min_ready_seconds": -1}, "min_ready_seconds"),
        ({"min_ready_seconds": 601}, "min_ready_seconds"),
        ({"network": "a b"}, "network"),
        ({"health_check_timeout": "0s"}, "health_check_timeout"),
        ({"health_check_timeout": "60"}, "health_check_timeout"),
        ({"proxy": ProxyEntry(response_timeout="0s")}, "proxy.response_timeout"),
        ({"proxy": ProxyEntry(max_connections=0)}, "proxy.max_connections"),
        ({"proxy": ProxyEntry(balance="x")}, "proxy.balance"),
        ({"proxy": ProxyEntry(headers={"Te": "x"})}, "proxy.headers.Te"),
        ({"resources": ResourcesEntry(memory="1MB")}, "resources.memory"),
        ({"resources": ResourcesEntry(cpus=0)}, "resources.cpus"),
        ({"resources": ResourcesEntry(cpus=float("nan"))}, "resources.cpus"),
        ({"resources": ResourcesEntry(pids=0)}, "resources.pids"),
        ({"resources": ResourcesEntry("1GB", 0.5, -1)}, "resources.pids"),
    ],
)
def test_what_is_wrong_is_named_as_people_write_it(
    said: dict[str, Any], field: str
) -> None:
    """CLI section 9, point 22: the field is the key of the file."""
    assert _field(evolve(GOOD, **said)) == field


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"repository": None}, "image.repository"),
        ({"repository": "ngi nx"}, "image.repository"),
        ({"repository": "MyOrg/app"}, "image.repository"),
        ({"repository": "https://a.com/x"}, "image.repository"),
        ({"repository": "../x"}, "image.repository"),
        ({"tag": "a b"}, "image.tag"),
        ({"tag": "-x"}, "image.repository"),
        ({"pull_policy": "z"}, "image.pull_policy"),
        ({"history": History("z")}, "image.history.strategy"),
        ({"history": History("local", 0)}, "image.history.count"),
        ({"history": History("registry", None, "v*")}, "image.history.count"),
        ({"history": History("registry", 0, "v*")}, "image.history.count"),
        ({"history": History("registry", 2)}, "image.history.pattern"),
        ({"history": History("registry", 2, "v*"), "tag": "main"}, "image.tag"),
        ({"history": History("registry", 2, "v*"), "tag": None}, "image.tag"),
        ({"registry": Registry("a b", LOGIN, LOGIN)}, "image.registry.server"),
        ({"registry": Registry(username=LOGIN)}, "image.registry.password"),
        (
            {"registry": Registry(username=ValueSource(), password=LOGIN)},
            "image.registry.username",
        ),
        (
            {"build": True, "build_config": BuildConfig(push="registry")},
            "image.registry",
        ),
        (
            {
                "build_config": BuildConfig(push="server"),
                "registry": Registry("r.io", LOGIN, LOGIN),
            },
            "image.registry",
        ),
        ({"build_config": BuildConfig(push="zz")}, "image.build_config.push"),
        ({"build_config": BuildConfig(context="a b")}, "image.build_config.context"),
        (
            {"build_config": BuildConfig(args=(BuildArg(""),))},
            "image.build_config.args[0].name",
        ),
        (
            {"build_config": BuildConfig(args=(BuildArg("A", "x", ValueFrom("E")),))},
            "image.build_config.args[0]",
        ),
    ],
)
def test_wrong_images(said: dict[str, Any], field: str) -> None:
    """Every key of an image has its rule (C{spec/config.md} 3.3 and 3.4)."""
    assert _field(_image(**said)) == field


@pytest.mark.parametrize(
    "said",
    [
        {"repository": "localhost:5000/a/b", "tag": None},
        {"repository": "nginx:1", "tag": None},
        {"repository": "a@sha256:" + "0" * 64, "tag": None},
        {"history": History(None, 3)},
        {"history": History("none", 0)},
        {"history": History("registry", 2, "v*"), "tag": "v1"},
        {"build": True},
        {"build_config": BuildConfig(args=(BuildArg("PASSED_THROUGH"),))},
        {"build": True, "registry": Registry("r.io", LOGIN, LOGIN)},
        {"build": False, "build_config": BuildConfig(push="registry")},
    ],
)
def test_right_images(said: dict[str, Any]) -> None:
    """A build argument with a name only is passed through; build: false wins."""
    validate_target(_image(**said))


def test_a_name_in_upper_case_is_refused_only_where_a_tag_is_made_of_it() -> None:
    """C{MyApp} with history none deploys; else no image could be tagged."""
    assert _field(evolve(GOOD, name="MyApp")) == "name"
    validate_target(evolve(_image(history=History("none")), name="MyApp"))


@pytest.mark.parametrize(
    "volume",
    [
        "data:/data",
        " data:/data ",
        "/etc/ssl:/certs:ro",
        "a.b_c-d:/x:rw,z",
        "/:/host:rslave",
    ],
)
def test_volumes(volume: str) -> None:
    """Named volumes and absolute paths, with Docker's options."""
    validate_volume(volume, "volumes[0]")


@pytest.mark.parametrize(
    "volume",
    [
        "",
        "d",
        ":/d",
        "data:",
        "./d:/d",
        "../d:/d",
        "a/b:/d",
        "data:rel",
        "C:\\x:/d",
        "C:/x:/d",
        "\\\\host\\x:/d",
        "d:/d",
        "data:/d:bogus",
        "data:/d:ro:extra",
        "-x:/d",
        "data:/d\0",
        "/a\nb:/d",
    ],
)
def test_what_is_no_volume(volume: str) -> None:
    """Relative and Windows paths, odd options, and names that Docker refuses."""
    with pytest.raises(InvalidValue) as caught:
        validate_volume(volume, "volumes[0]")
    assert caught.value.field == "volumes[0]"


def test_one_alias_leads_to_one_domain() -> None:
    """An alias that is a domain too, or of two domains, upsets no route table."""
    a, b = DomainEntry("a.com", ("www.a.com",)), DomainEntry("b.com", ("A.com",))
    assert _field(evolve(GOOD, domains=(a, b))) == "domains[1].aliases[0]"
    b = DomainEntry("b.com", ("www.a.com",))
    assert _field(evolve(GOOD, domains=(a, b))) == "domains[1].aliases[0]"
    assert _field(evolve(GOOD, domains=(DomainEntry("a.com", ("a.com",)),))) == (
        "domains[0].aliases[0]"
    )
    validate_target(evolve(GOOD, domains=(a, a)))


def test_the_daemon_takes_no_unresolved_source() -> None:
    """What the client should have looked up is refused before 202 (A1)."""
    secret = EnvVar("A", source=ValueFrom(secret="sops:a:b"))
    target = evolve(GOOD, env=(EnvVar("B", "x"), secret))
    validate_target(target)
    with pytest.raises(InvalidValue) as caught:
        validate_received(target)
    assert caught.value.field == "env[1] (A)"
    registry = Registry("r.io", LOGIN, ValueSource(source=ValueFrom(env="P")))
    with pytest.raises(InvalidValue) as caught:
        validate_received(_image(registry=registry))
    assert caught.value.field == "image.registry.password"


def test_what_a_daemon_may_leave_out() -> None:
    """Path, port and counts have defaults; the image has none (A1)."""
    validate_target(Target(name="web", server="s"))
    validate_received(Target(name="web", server="s", image=ImageConfig("nginx")))
    with pytest.raises(InvalidValue) as caught:
        validate_received(Target(name="web", server="s"))
    assert caught.value.field == "image"
    validate_received(
        _image(registry=Registry("r.io", ValueSource("u"), ValueSource("p")))
    )


def test_likely_mistakes_are_warned_of() -> None:
    """An image named like the app that nobody builds; an app off the network."""
    assert warnings(GOOD) == ()
    (text,) = warnings(_image(repository="web"))
    assert "build: true" in text
    assert warnings(_image(repository="web", build=True)) == ()
    domains = (DomainEntry("a.com"),)
    (text,) = warnings(evolve(GOOD, network="other", domains=domains))
    assert "other" in text
    assert warnings(evolve(GOOD, network="haloy", domains=domains)) == ()
