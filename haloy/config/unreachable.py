"""Why a server could not be reached, in words of a person who wants to reach it."""

from __future__ import annotations

from OpenSSL import SSL
from service_identity.exceptions import VerificationError

_TLS = {
    "wrong version number": "what answers there does not speak TLS",
    "tlsv1 unrecognized name": "what answers there has no certificate for this name",
}


def why(problem: BaseException | None, ca_file: str) -> str:
    """Return what a person can use of an error of a connection or of TLS.

    @param ca_file: by what an authority of one's own is named.
    """
    reasons = getattr(problem, "reasons", None)
    if reasons:
        return "; ".join(why(one.value, ca_file) for one in reasons)
    if isinstance(problem, VerificationError):
        return "its certificate is for another name"
    if isinstance(problem, SSL.Error) and problem.args and problem.args[0]:
        text = str(problem.args[0][-1][-1])
        if text == "certificate verify failed":
            return (
                "its certificate is not of an authority that is trusted here; one of "
                f"your own is named by {ca_file}"
            )
        return _TLS.get(text, f"TLS: {text}")
    return (str(problem) or type(problem).__name__).rstrip(".")
