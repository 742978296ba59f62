"""Errors of connections, as people are told them."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from service_identity.exceptions import VerificationError
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from haloy.config.unreachable import why


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            error.ConnectionRefusedError("no"),
            "Connection was refused by other side: no",
        ),
        (TimeoutError(), "TimeoutError"),
        (VerificationError(errors=[]), "its certificate is for another name"),
        (SSL.Error(), "Error"),
        (SSL.Error([("SSL routines", "", "bad record mac")]), "TLS: bad record mac"),
        (
            SSL.Error([("SSL routines", "", "wrong version number")]),
            "what answers there does not speak TLS",
        ),
        (
            ResponseNeverReceived(
                [Failure(SSL.Error([("", "", "x")])), Failure(OSError("y."))]
            ),
            "TLS: x; y",
        ),
    ],
)
def test_in_words(problem: BaseException, told: str) -> None:
    """Not as Python shows them."""
    assert why(problem, "--ca-file") == told


def test_an_authority_of_ones_own() -> None:
    """What to do is said."""
    problem = SSL.Error([("SSL routines", "", "certificate verify failed")])
    assert "--ca-file" in why(problem, "--ca-file")
