"""Answers of our own: error pages and redirects. All that is echoed is escaped."""

from __future__ import annotations

from html import escape
from typing import Final

from attrs import frozen

REASONS: Final[dict[int, str]] = {
    200: "OK",
    301: "Moved Permanently",
    308: "Permanent Redirect",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

MESSAGES: Final[dict[int, str]] = {
    400: "The request is malformed.",
    404: "Nothing is served under this name.",
    405: "This method is not allowed.",
    408: "The request did not arrive in time.",
    413: "The request body is larger than this app allows.",
    414: "The address is too long.",
    417: "The expectation cannot be met.",
    421: "This connection was made for another name.",
    431: "The request header is too large.",
    502: "The app did not give a valid answer.",
    503: "The app has no healthy replica right now.",
    504: "The app did not answer in time.",
    505: "This protocol version is not supported.",
}


@frozen
class Page:
    """What to answer instead of forwarding.

    C{location} makes it a redirect. C{message} is for people, plain text; C{text}
    asks for C{text/plain} instead of HTML; C{code} goes into C{X-Haloy-Error}.
    """

    status: int
    message: str = ""
    location: bytes = b""
    retry_after_s: int = 0
    text: bool = False
    code: str = ""


def error(status: int, message: str = "") -> Page:
    """Return the page for an error, with our usual words if C{message} is empty."""
    return Page(status, message or MESSAGES[status])


def unavailable(message: str = "", retry_after_s: int = 5) -> Page:
    """Return 503 with Retry-After: nobody is there right now."""
    return Page(503, message or MESSAGES[503], retry_after_s=retry_after_s)


def redirect(method: bytes, location: bytes) -> Page:
    """Return the permanent redirect to C{location}, a whole URL.

    301 lets clients turn POST into GET, so all but GET and HEAD get 308
    (RFC 9110 section 15.4.9).
    """
    status = 301 if method in (b"GET", b"HEAD") else 308
    return Page(status, location=location)


def render(
    page: Page,
    *,
    close: bool,
    keep_alive: bool = False,
    without_body: bool = False,
    request_id: bytes = b"",
    extra: bytes = b"",
) -> bytes:
    """Return the whole answer.

    @param close: the connection ends after it. C{keep_alive} tells an HTTP/1.0
        client that it does not.
    @param without_body: for HEAD: the length is told, the body left out.
    @param extra: more field lines, each with its end.
    """
    reason = REASONS[page.status]
    if page.text:
        kind = b"text/plain; charset=utf-8"
        # A key authorisation goes out as it is, words for people as a line.
        end = "" if page.status == 200 else "\n"
        body = f"{page.message}{end}".encode()
    elif page.location:
        kind = b"text/html; charset=utf-8"
        link = escape(page.location.decode("latin-1"))
        body = (
            f'<!doctype html><title>{reason}</title><a href="{link}">{link}</a>\n'
        ).encode()
    else:
        kind = b"text/html; charset=utf-8"
        body = _html(page.status, reason, page.message)
    lines = [
        b"HTTP/1.1 %d %b" % (page.status, reason.encode("ascii")),
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
    ]
    if page.location:
        lines.append(b"Location: " + page.location)
    elif page.status >= 400:
        lines.append(b"Cache-Control: no-store")
    if page.status == 405:
        lines.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    if page.retry_after_s:
        lines.append(b"Retry-After: %d" % page.retry_after_s)
    if page.code:
        lines.append(b"X-Haloy-Error: " + page.code.encode("ascii"))
    if request_id:
        lines.append(b"X-Request-ID: " + request_id)
    if close:
        lines.append(b"Connection: close")
    elif keep_alive:
        lines.append(b"Connection: keep-alive")
    head = b"\r\n".join(lines) + b"\r\n" + extra + b"\r\n"
    return head if without_body else head + body


def _html(status: int, reason: str, message: str) -> bytes:
    title = f"{status} {reason}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title></head>"
        '<body style="font-family:sans-serif;text-align:center;margin-top:15vh">'
        f"<h1>{status}</h1><p>{escape(message)}</p></body></html>\n"
    ).encode()
