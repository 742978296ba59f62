"""What answers look like: headers, JSON, text, and errors (C{spec/api.md} 1.3, 1.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import responses
from typing import Any

from twisted.logger import Logger
from werkzeug.exceptions import HTTPException

from haloy.errors import (
    BadGateway,
    Conflict,
    EngineError,
    EngineUnavailable,
    Forbidden,
    HaloyError,
    InsufficientStorage,
    InvalidValue,
    Misdirected,
    NotFound,
    PolicyRefused,
    StoreError,
    TooMany,
    Unauthorized,
)
from haloy.model.places import without_places

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cache-Control": "no-store, no-cache, must-revalidate",
}

#: The status of each class of error; the first that fits counts.
_STATUS: tuple[tuple[type[HaloyError], int], ...] = (
    (InvalidValue, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (PolicyRefused, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Misdirected, 421),
    (TooMany, 429),
    (InsufficientStorage, 507),
    (BadGateway, 502),
    (EngineUnavailable, 503),
    (StoreError, 503),
)

_log = Logger()


def status_of(problem: HaloyError) -> int:
    """Return the status by which C{problem} is told."""
    return next((code for kind, code in _STATUS if isinstance(problem, kind)), 500)


def retry_after(problem: TooMany) -> str:
    """Return the whole seconds to wait, at least one."""
    return str(max(1, round(problem.retry_after_s)))


def set_status(request: Any, status: int) -> None:
    """Set a status with its words: twisted.web knows fewer of them."""
    request.setResponseCode(status, responses.get(status, "Error").encode())


def json_answer(
    request: Any, body: Mapping[str, Any], *, started: bool = False
) -> bytes:
    """Return C{body} as the answer's JSON.

    @param started: the head is sent already.
    """
    if not started:
        for name, value in SECURITY.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", "application/json")
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return _whole(request, text, started)


def _whole(request: Any, text: str, started: bool = False) -> bytes:
    """Return a line as a whole body, whose length is told if the head is not sent."""
    body = f"{text}\n".encode()
    if not started:
        request.setHeader("Content-Length", str(len(body)))
    return body


def respond(request: Any, status: int) -> bytes:
    """Answer with a status and no body."""
    set_status(request, status)
    if status == 202:
        request.setHeader("Content-Length", "0")
        request.responseHeaders.removeHeader("Content-Type")
        request.defaultContentType = None
    return b""


def text_answer(request: Any, status: int, text: str, code: str = "") -> bytes:
    """Return one line of text as the answer."""
    set_status(request, status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    request.setHeader("X-Content-Type-Options", "nosniff")
    if code:
        request.setHeader("X-Haloy-Error", code)
    return _whole(request, text)


def error_answer(request: Any, failure: Any) -> bytes:
    """Return the answer for whatever went wrong, in one line of text."""
    problem = failure.value
    path = request.path.decode(errors="replace")
    if isinstance(problem, HTTPException):
        return _unrouted(request, problem)
    if not isinstance(problem, HaloyError):
        _log.failure("{path} failed", failure, path=path)
        return text_answer(
            request, 500, "haloyd made a mistake; its log says more", "bug"
        )
    status = status_of(problem)
    if status == 500:
        _log.error("{path}: {problem}", path=path, problem=str(problem))
    if isinstance(problem, TooMany):
        request.setHeader("Retry-After", retry_after(problem))
    return text_answer(request, status, told(problem), problem.code)


def told(problem: HaloyError) -> str:
    """Return what a client hears of C{problem}, in one line.

    What Docker says becomes any of three classes, by its status (A20).
    """
    text = str(problem).replace("\n", " ")
    if isinstance(problem, EngineError | NotFound | Conflict):
        return without_places(text)
    return text


def _unrouted(request: Any, problem: HTTPException) -> bytes:
    """Answer for paths and methods that are none of ours (C{spec/api.md} 1.1)."""
    if problem.code == 405:
        allowed = sorted(getattr(problem, "valid_methods", None) or ())
        request.setHeader(
            "Allow", ", ".join(one for one in allowed if one != "OPTIONS")
        )
        return text_answer(request, 405, "Method Not Allowed", "method-not-allowed")
    return no_route(request)


def no_route(request: Any) -> bytes:
    """Return the answer for a path that is none of ours."""
    return text_answer(request, 404, "404 page not found", "no-route")
