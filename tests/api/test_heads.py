"""Heads of requests: what they lead to, and what is wrong with them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.api.heads import (
    Refusal,
    clean_path,
    may_come_once,
    origin_form,
    refused_field,
)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        (b"/", b"/"),
        (b"//", b"/"),
        (b"/..", b"/"),
        (b"/health", b"/health"),
        (b"//v1/version", b"/v1/version"),
        (b"/v1/../v1/version", b"/v1/version"),
        (b"/v1/./version/", b"/v1/version/"),
        (b"/v1/registries/a%2F%2Fb", b"/v1/registries/a%2F%2Fb"),
        (b"//\\evil.example.com", b"/%5Cevil.example.com"),
        (b"//evil.example.com/..//x", b"/x"),
    ],
)
def test_clean_paths(path: bytes, clean: bytes) -> None:
    """Empty segments and dots go; what is encoded and the last slash stay."""
    assert clean_path(path) == clean


@given(st.binary())
def test_clean_stays_clean(path: bytes) -> None:
    """A redirect never leads to a redirect, nor to another host."""
    clean = clean_path(path)
    assert clean_path(clean) == clean
    assert clean.startswith(b"/")
    assert not clean.startswith((b"//", b"/\\"))


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/a?b=http://c/", (b"/a?b=http://c/", None)),
        (b"*", (b"*", None)),
        (b"http://localhost:9922/v1/version", (b"/v1/version", b"localhost:9922")),
        (b"HTTP://localhost", (b"/", b"localhost")),
        (b"https://localhost?a=/b", (b"/?a=/b", b"localhost")),
    ],
)
def test_targets(target: bytes, found: tuple[bytes, bytes | None]) -> None:
    """A path, or a whole URL, whose host counts."""
    assert origin_form(target) == found


@pytest.mark.parametrize(
    "target", [b"health", b"a:443", b"ftp://a/", b"http:///x", b"http://u@localhost/"]
)
def test_what_is_no_target(target: bytes) -> None:
    """Neither of both."""
    with pytest.raises(ValueError, match="a URL"):
        origin_form(target)


@given(st.binary())
def test_any_target(target: bytes) -> None:
    """It is read or refused, nothing else."""
    with suppress(ValueError):
        origin_form(target)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        (b"Transfer-Encoding", b"Chunked", None),
        (b"transfer-encoding", b"gzip", 501),
        (b"Transfer-Encoding", b"gzip, chunked", 501),
        (b"Content-Length", b"12", None),
        (b"content-length", b"-1", 400),
        (b"Content-Length", b"9" * 5000, 400),
        (b"Accept", b"gzip", None),
    ],
)
def test_fields_that_cannot_be_read(
    name: bytes, value: bytes, status: int | None
) -> None:
    """Another coding than chunked, and a length that is none."""
    found = refused_field(name, value)
    assert (found and found.status) == status


def test_fields_that_may_come_once() -> None:
    """Whatever their case; others may be repeated."""
    assert may_come_once(b"x-LAYER-digest")
    assert not may_come_once(b"X-Forwarded-For")


def test_form_of_a_refusal() -> None:
    """As every error, with the time to wait if there is one."""
    head, _, body = (
        Refusal(429, "wait", "too-many", "3").encode().partition(b"\r\n\r\n")
    )
    assert body == b"wait\n"
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 429 Too Many Requests",
        b"Content-Type: text/plain; charset=utf-8",
        b"X-Content-Type-Options: nosniff",
        b"X-Haloy-Error: too-many",
        b"Connection: close",
        b"Content-Length: 5",
        b"Retry-After: 3",
    ]
