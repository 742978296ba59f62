from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.errors import InvalidValue
from haloy.model.app import Domain, HealthCheck, ProxyOptions, Strategy
from haloy.model.labels import AppLabels, parse_labels, to_labels
from haloy.model.names import AppName, DeploymentId, DomainName

GO = {
    "dev.haloy.appName": "a1app",
    "dev.haloy.deployment-id": "01m83qp9yk95bywg6s9x0fcxr4",
    "dev.haloy.port": "3000",
    "dev.haloy.health-check-path": "/h",
    "dev.haloy.min-ready-seconds": "7",
    "dev.haloy.domain.0": "a.com",
    "dev.haloy.domain.0.alias.0": "www.a.com",
    "dev.haloy.domain.0.alias.1": "b.a.com",
    "dev.haloy.domain.1": "c.com",
}
LEAST = {"dev.haloy.appName": "web", "dev.haloy.deployment-id": "manual-001"}


def _read(**labels: str) -> AppLabels:
    named = {f"dev.haloy.{key}": value for key, value in labels.items()}
    said = parse_labels(LEAST | named)
    assert said is not None
    return said


def _domain(name: str, *aliases: str) -> Domain:
    return Domain(DomainName(name), tuple(DomainName(alias) for alias in aliases))


def test_labels_of_the_go_daemon() -> None:
    """A container of the Go daemon reads as what it was deployed with."""
    assert parse_labels(GO) == AppLabels(
        app=AppName("a1app"),
        deployment=DeploymentId("01m83qp9yk95bywg6s9x0fcxr4"),
        domains=(_domain("a.com", "www.a.com", "b.a.com"), _domain("c.com")),
        port=3000,
        health=HealthCheck("/h", 7),
    )


def test_written_labels_are_those_both_implementations_agree_on() -> None:
    """Ours are the labels of C{spec/labels.md} section 1 and our own beside them."""
    said = parse_labels(GO)
    assert said is not None
    ours = AppLabels(
        **{
            name: getattr(said, name)
            for name in ("app", "deployment", "domains", "port", "health")
        },
        replica=2,
        strategy=Strategy.ROLLING,
        managed=True,
    )
    assert to_labels(ours) == GO | {
        "dev.haloy.role": "app",
        "dev.haloy.managed-by": "haloyd",
        "dev.haloy.replica": "2",
        "dev.haloy.strategy": "rolling",
    }


def test_zero_min_ready_writes_no_label() -> None:
    """min-ready-seconds is left out at 0."""
    labels = to_labels(AppLabels(AppName("a"), DeploymentId("x")))
    assert labels == {
        "dev.haloy.appName": "a",
        "dev.haloy.deployment-id": "x",
        "dev.haloy.port": "8080",
        "dev.haloy.health-check-path": "/",
        "dev.haloy.role": "app",
    }


NAMES = st.from_regex(r"\A[a-z]{1,8}\.[a-z]{2,5}\Z").map(DomainName)


@given(
    st.builds(
        AppLabels,
        app=st.from_regex(r"\A[a-z]{1,8}\Z").map(AppName),
        deployment=st.from_regex(r"\A[a-z0-9-]{1,20}\Z").map(DeploymentId),
        domains=st.lists(
            st.builds(Domain, NAMES, st.lists(NAMES, max_size=12).map(tuple)),
            max_size=12,
        ).map(tuple),
        port=st.integers(1, 65535),
        health=st.builds(
            HealthCheck, st.from_regex(r"\A/[!-~]{0,20}\Z"), st.integers(0, 600)
        ),
        proxy=st.builds(ProxyOptions, max_connections=st.integers(1, 65535)),
        replica=st.integers(0, 100),
        strategy=st.none() | st.sampled_from(Strategy),
        managed=st.booleans(),
    )
)
def test_what_is_written_is_read_back(said: AppLabels) -> None:
    """Labels lose nothing, the order of ten and more aliases included."""
    assert parse_labels(to_labels(said)) == said


def test_a_container_without_an_app_name_is_not_ours() -> None:
    """Other containers are no error."""
    assert parse_labels({}) is None
    assert parse_labels({"dev.haloy.deployment-id": "x", "com.example": "y"}) is None


def test_what_is_missing_has_defaults() -> None:
    """Port 8080, path /, no domain, unknown role and manager are fine."""
    said = _read(role="database", **{"managed-by": "somebody"})
    assert said == AppLabels(AppName("web"), DeploymentId("manual-001"))


def test_indexes_may_have_gaps_and_aliases_keep_their_order() -> None:
    """Domains and aliases are sorted by number, 10 after 9."""
    said = _read(
        **{
            "domain.7": "b.com",
            "domain.2": "A.com",
            "domain.2.alias.10": "z.a.com",
            "domain.2.alias.9": "y.a.com",
        }
    )
    assert said.domains == (_domain("a.com", "y.a.com", "z.a.com"), _domain("b.com"))


def test_a_wildcard_domain_is_read() -> None:
    """C{*.example.com} is a domain of ours; an alias cannot be one."""
    assert _read(**{"domain.0": "*.example.com"}).domains == (_domain("*.example.com"),)
    with pytest.raises(InvalidValue):
        _read(**{"domain.0": "example.com", "domain.0.alias.0": "*.example.com"})


@pytest.mark.parametrize(
    "key", ["domain.0foo", "domain.x", "domain.", "domain.0.alias.1x", "domain.٣"]
)
def test_indexes_are_matched_strictly(key: str) -> None:
    """What only looks like a domain label is none (it is domain 0 in HEAD)."""
    assert _read(**{key: "a.com"}).domains == ()


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("appName", "", "dev.haloy.appName"),
        ("deployment-id", "", "dev.haloy.deployment-id"),
        ("port", "", "dev.haloy.port"),
        ("port", "0", "dev.haloy.port"),
        ("port", "65536", "dev.haloy.port"),
        ("port", "00000199999", "dev.haloy.port"),
        ("port", "80a", "dev.haloy.port"),
        ("port", "٨٠", "dev.haloy.port"),
        ("health-check-path", "x", "dev.haloy.health-check-path"),
        ("health-check-path", "/\r\nHost: b", "dev.haloy.health-check-path"),
        ("domain.3", "b_c.com", "dev.haloy.domain.3"),
        ("domain.3.alias.0", "a.com", "dev.haloy.domain.3"),
        ("proxy.max-body", "-1", "dev.haloy.proxy.max-body"),
    ],
)
def test_an_error_names_the_label(key: str, value: str, field: str) -> None:
    """One wrong label makes the set invalid, and the error says which."""
    with pytest.raises(InvalidValue) as caught:
        _read(**{key: value})
    assert caught.value.field == field


def test_a_bad_alias_names_itself() -> None:
    """The alias is named, not its domain."""
    with pytest.raises(InvalidValue) as caught:
        _read(**{"domain.0": "a.com", "domain.0.alias.4": "b"})
    assert caught.value.field == "dev.haloy.domain.0.alias.4"


@pytest.mark.parametrize("text", ["x", "", "-1", "1.5", "9" * 5000])
def test_a_min_ready_that_is_no_count_is_zero(text: str) -> None:
    """min-ready-seconds and replica fall back to 0, as the Go daemon has it."""
    said = _read(**{"min-ready-seconds": text, "replica": text})
    assert (said.health.min_ready_s, said.replica) == (0, 0)


def test_an_unknown_strategy_is_none() -> None:
    """A label of a later version does not make a container unusable."""
    assert _read(strategy="canary").strategy is None


@given(
    st.dictionaries(
        st.sampled_from([*GO, "dev.haloy.proxy.hsts", "dev.haloy.replica"]),
        st.text(max_size=12),
    )
)
def test_any_labels_are_read_or_invalid(labels: dict[str, str]) -> None:
    """No text makes the reader fail in another way."""
    wrong = ""
    try:
        parse_labels(labels)
    except InvalidValue as problem:
        wrong = problem.field
    assert wrong == "" or wrong.startswith("dev.haloy.")


def test_an_app_that_speaks_http2_is_asked_over_it() -> None:
    """By its protocol; the service of gRPC stands in the path."""
    labels = {
        **GO,
        "dev.haloy.proxy.protocol": "h2c",
        "dev.haloy.health-check-path": "grpc:shop.Orders",
    }
    said = parse_labels(labels)
    assert said is not None
    assert said.health == HealthCheck("grpc:shop.Orders", 7, h2c=True)
    assert said.health.service == "shop.Orders"
    assert HealthCheck("grpc").service == ""
    assert HealthCheck("/grpc").service is None
    assert to_labels(said)["dev.haloy.health-check-path"] == "grpc:shop.Orders"
