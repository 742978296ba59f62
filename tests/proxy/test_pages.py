"""Answers of our own."""

from __future__ import annotations

import pytest

from haloy.proxy import pages


def test_an_error_page() -> None:
    """A page is small HTML with its number, its words and its length."""
    answer = pages.render(pages.error(404), close=False, request_id=b"id-1")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert b"X-Request-ID: id-1" in head
    assert b"Connection" not in head
    assert b"<h1>404</h1>" in body


@pytest.mark.parametrize("status", sorted(pages.MESSAGES))
def test_every_error_has_words(status: int) -> None:
    """Each status that we give has a reason phrase and a sentence."""
    answer = pages.render(pages.error(status), close=True)
    assert answer.startswith(
        b"HTTP/1.1 %d %b\r\n" % (status, pages.REASONS[status].encode())
    )
    assert b"Connection: close\r\n" in answer


def test_what_is_echoed_is_escaped() -> None:
    """Neither words nor locations can carry markup into the page."""
    page = pages.Page(502, "<script>&")
    assert b"&lt;script&gt;&amp;" in pages.render(page, close=True)
    redirect = pages.redirect(b"GET", b'https://a.example/"><script>')
    body = pages.render(redirect, close=True).partition(b"\r\n\r\n")[2]
    assert b"<script>" not in body
    assert b"&quot;" in body


def test_redirects_are_permanent() -> None:
    """GET and HEAD get 301, other methods 308, with the location as it is."""
    assert pages.redirect(b"HEAD", b"https://a/").status == 301
    answer = pages.render(pages.redirect(b"POST", b"https://a/%2F"), close=False)
    assert answer.startswith(b"HTTP/1.1 308 ")
    assert b"\r\nLocation: https://a/%2F\r\n" in answer
    assert b"Cache-Control" not in answer


def test_nobody_there_is_told_with_a_time() -> None:
    """503 says when to come again."""
    assert b"Retry-After: 5\r\n" in pages.render(pages.unavailable(), close=False)


def test_no_methods_without_allow() -> None:
    """405 names what is allowed (RFC 9110 15.5.6)."""
    assert b"\r\nAllow: GET, " in pages.render(pages.error(405), close=True)


def test_plain_text() -> None:
    """Text is one line; a key authorisation has no line end; codes are a field."""
    page = pages.Page(503, "No.", text=True, code="unavailable")
    answer = pages.render(page, close=False, extra=b"X-A: 1\r\n")
    assert answer.endswith(b"\r\nX-A: 1\r\n\r\nNo.\n")
    assert b"X-Haloy-Error: unavailable\r\n" in answer
    assert pages.render(pages.Page(200, "k", text=True), close=False).endswith(
        b"\r\n\r\nk"
    )


def test_head_has_no_body() -> None:
    """The length is told, the body left out; an old client is told to stay."""
    answer = pages.render(
        pages.error(404), close=False, keep_alive=True, without_body=True
    )
    assert answer.endswith(b"\r\nConnection: keep-alive\r\n\r\n")
