from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.errors import InvalidValue
from haloy.model.names import (
    deployment_time,
    new_deployment_id,
    parse_app_name,
    parse_deployment_id,
    parse_domain_name,
    parse_health_path,
    tag_problem,
)


@pytest.mark.parametrize("name", ["a", "web", "MyApp", "0", "a_b-c", "a" * 63])
def test_app_names(name: str) -> None:
    """Letters, digits, - and _ make an app name."""
    assert parse_app_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "-a", "_a", "a.b", "ä", "a\n", "a" * 64])
def test_what_is_no_app_name(name: str) -> None:
    """Anything else is refused and the field is named."""
    with pytest.raises(InvalidValue) as caught:
        parse_app_name(name, "targets.x.name")
    assert caught.value.field == "targets.x.name"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.com", "a.com"),
        ("A.Example.COM", "a.example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("1.2.3.44", "1.2.3.44"),
        ("a-b.c3.io", "a-b.c3.io"),
        ("example.xn--p1ai", "example.xn--p1ai"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("a." + "b" * 63 + ".com", "a." + "b" * 63 + ".com"),
    ],
)
def test_domains(text: str, name: str) -> None:
    """A host name is lower-cased; one beyond ASCII becomes its A-label."""
    assert parse_domain_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a",
        "a.com.",
        ".a.com",
        "-a.com",
        "a-.com",
        "a..com",
        "b_c.com",
        "a.c",
        "a.com-",
        "a b.com",
        "a.com\n",
        "a.com:80",
        "https://a.com",
        "*.a.com",
        "a.*.com",
        "x" * 64 + ".com",
        "ß" * 300 + ".com",
        ("a" * 60 + ".") * 5 + "com",
        "\u2024.com",
        "a。",
    ],
)
def test_what_is_no_domain(text: str) -> None:
    """Anything else is refused; a trailing dot and underscores are too."""
    with pytest.raises(InvalidValue) as caught:
        parse_domain_name(text, "domains[0].domain")
    assert caught.value.field == "domains[0].domain"


def test_wildcards_only_where_they_are_allowed() -> None:
    """C{*.} stands for one label in front of two or more."""
    assert parse_domain_name("*.Example.com", wildcard=True) == "*.example.com"
    assert parse_domain_name("*.bücher.example", wildcard=True) == (
        "*.xn--bcher-kva.example"
    )
    for text in ("*.com", "*", "*.*.com", "a.*.com", "*a.example.com", "*.localhost"):
        with pytest.raises(InvalidValue):
            parse_domain_name(text, wildcard=True)


@given(st.text(max_size=80), st.booleans())
def test_any_text_is_a_domain_or_invalid(text: str, wildcard: bool) -> None:
    """No text makes the parser fail in another way, and parsing twice is as once."""
    try:
        name = parse_domain_name(text, wildcard=wildcard)
    except InvalidValue:
        return
    assert name.isascii()
    assert parse_domain_name(name, wildcard=wildcard) == name


@pytest.mark.parametrize(
    "text", ["manual-001", "01m83xb9j8bwez2bj0erpm4y3a", "0" * 128, "a.b_c-d0"]
)
def test_deployment_ids(text: str) -> None:
    """ULIDs and ids made by hand are taken."""
    assert parse_deployment_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "short", "UPPERCASE1", "-dashfirst", "0" * 129, "../../etc", "a b c d e"],
)
def test_what_is_no_deployment_id(text: str) -> None:
    """An id that cannot be part of a tag, or that is short, is refused (A1)."""
    with pytest.raises(InvalidValue) as caught:
        parse_deployment_id(text)
    assert caught.value.field == "deploymentID"


@given(st.integers(0, 253402300799999), st.binary(min_size=10, max_size=10))
def test_a_new_id_tells_its_time(now_ms: int, randomness: bytes) -> None:
    """An id is a lower-case ULID; its time is read back to the millisecond."""
    made = new_deployment_id(now_ms, randomness)
    assert parse_deployment_id(made) == made
    assert len(made) == 26
    read = deployment_time(made)
    assert read is not None
    assert round((read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000) == (
        now_ms
    )


@given(
    st.integers(0, 2**48 - 2),
    st.binary(min_size=10, max_size=10),
    st.binary(min_size=10, max_size=10),
)
def test_ids_sort_by_time(now_ms: int, one: bytes, other: bytes) -> None:
    """A later id is the greater text, as the Go daemon compares them."""
    assert new_deployment_id(now_ms, one) < new_deployment_id(now_ms + 1, other)


@given(st.text(max_size=40))
def test_any_id_has_a_time_or_none(text: str) -> None:
    """Ids made by hand have no time, whatever they look like."""
    deployment_time(text)


@pytest.mark.parametrize(
    "text", ["manual-001", "z" * 26, "7" + "z" * 25, "\u0131" * 26]
)
def test_ids_that_are_no_ulid_or_beyond_dates(text: str) -> None:
    """No time is made up."""
    assert deployment_time(text) is None


def test_times_are_read_in_any_case() -> None:
    """Ids are decoded regardless of case (C{spec/labels.md} section 3)."""
    lower = deployment_time("01m83xb9j8bwez2bj0erpm4y3a")
    assert lower == deployment_time("01M83XB9J8BWEZ2BJ0ERPM4Y3A")
    assert lower is not None
    assert lower.year == 2026


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/a?b=c", "/%20", "grpc", "grpc:a.B"]
)
def test_health_paths(path: str) -> None:
    """A path begins with / and is visible ASCII; or it is a question of gRPC."""
    assert parse_health_path(path, "p") == path


@pytest.mark.parametrize(
    "path", ["", "x", "grpcs", "grpc: a", "/a b", "/\r\nX: y", "/é", "/" + "a" * 2048]
)
def test_what_is_no_health_path(path: str) -> None:
    """What cannot stand in a request line is refused."""
    with pytest.raises(InvalidValue):
        parse_health_path(path, "p")


@pytest.mark.parametrize("name", ["web", "a-b", "a--b", "a_b", "a__b", "a0"])
def test_names_that_can_be_repositories(name: str) -> None:
    """Lower case with single separators names an image."""
    assert tag_problem(name) == ""


@pytest.mark.parametrize("name", ["MyApp", "a_", "a-", "a___b"])
def test_names_that_cannot_be_repositories(name: str) -> None:
    """The reason says what to do."""
    assert "history" in tag_problem(name)
