"""What answers look like: headers, JSON, text, and errors (C{spec/api.md} 1.3, 1.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger
from werkzeug.exceptions import HTTPException

from haloy.errors import (
    BadGateway,
    Conflict,
    EngineUnavailable,
    Forbidden,
    HaloyError,
    InsufficientStorage,
    InvalidValue,
    NotFound,
    StoreError,
    TooMany,
    Unauthorized,
)

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
    (NotFound, 404),
    (Conflict, 409),
    (TooMany, 429),
    (InsufficientStorage, 507),
    (BadGateway, 502),
    (EngineUnavailable, 503),
    (StoreError, 503),
)

_log = Logger()


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
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def respond(request: Any, status: int) -> bytes:
    """Answer with a status and no body."""
    request.setResponseCode(status)
    if status == 202:
        request.responseHeaders.removeHeader("Content-Type")
        request.defaultContentType = None
    return b""


def text_answer(request: Any, status: int, text: str, code: str = "") -> bytes:
    """Return one line of text as the answer."""
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    if code:
        request.setHeader("X-Haloy-Error", code)
    return f"{text}\n".encode()


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
    status = next((code for kind, code in _STATUS if isinstance(problem, kind)), 500)
    if status == 500:
        _log.error("{path}: {problem}", path=path, problem=str(problem))
    if isinstance(problem, TooMany):
        retry = str(max(1, round(problem.retry_after_s)))
        request.setHeader("Retry-After", retry)
    return text_answer(request, status, str(problem).replace("\n", " "), problem.code)


def _unrouted(request: Any, problem: HTTPException) -> bytes:
    """Answer for paths and methods that are none of ours (C{spec/api.md} 1.1)."""
    if problem.code == 405:
        allowed = sorted(getattr(problem, "valid_methods", None) or ())
        request.setHeader(
            "Allow", ", ".join(one for one in allowed if one != "OPTIONS")
        )
        return text_answer(request, 405, "Method Not Allowed")
    return text_answer(request, 404, "404 page not found")
