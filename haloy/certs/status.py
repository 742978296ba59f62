"""How it stands with a wanted name, in words for a person. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from haloy.certs.interface import CertificateStatus
from haloy.certs.memory import Memory
from haloy.certs.need import Decision, Policy, orderable
from haloy.certs.pem import fingerprint
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

WAITS = {
    "pause": "the certificate authority has asked for a pause",
    "limit": "waiting, to stay below the limits of the certificate authority",
}


def status_of(
    domain: Domain,
    decision: Decision,
    certificate: Certificate | None,
    memory: Memory,
    policy: Policy,
    warnings: Mapping[DomainName, str],
    now: datetime,
    *,
    ordering: bool,
    queued: bool = False,
    unsaved: bool = False,
) -> CertificateStatus:
    """Return the status of C{domain}.

    @param certificate: what is served for it now.
    @param queued: it is due and waits for others that are being ordered.
    @param unsaved: it is in memory only.
    """
    failures = memory.failures.get(decision.name)
    if failures is not None and failures.names != decision.names:
        failures = None
    if certificate is not None:
        state = "manual" if certificate.manual else "valid"
    else:
        state = "pending" if failures is None else "failed"
    parts = [
        "" if failures is None else failures.reason,
        WAITS.get(decision.waits_for, ""),
        _going_on(ordering, queued),
        never(decision.names, policy),
        _ending(certificate, now),
        "the disk has not taken it yet" if unsaved else "",
    ]
    if certificate is None or failures is not None:
        parts += [warnings.get(name, "") for name in decision.names]
    return CertificateStatus(
        name=domain.canonical,
        aliases=domain.aliases,
        state=state,
        not_after=None if certificate is None else certificate.not_after,
        issuer="" if certificate is None else certificate.issuer,
        reason="; ".join(dict.fromkeys(filter(None, parts))),
        next_try=decision.due,
        problem="" if failures is None else failures.problem,
        failures=0 if failures is None else failures.count,
        directory="" if certificate is None else certificate.directory,
        document="" if failures is None else failures.document,
        ordering=ordering or queued,
        names=() if certificate is None else tuple(sorted(certificate.names)),
        not_before=None if certificate is None else certificate.not_before,
        fingerprint="" if certificate is None else fingerprint(certificate),
    )


def _going_on(ordering: bool, queued: bool) -> str:
    if ordering:
        return "being ordered"
    return "waiting for its turn" if queued else ""


def never(names: tuple[DomainName, ...], policy: Policy) -> str:
    """Return why no CA would issue for C{names}, C{""}: one would."""
    if orderable(names, policy):
        return ""
    if "localhost" in names:
        return "no certificate authority issues for localhost"
    return "a wildcard needs DNS-01 (acme.dns), or a certificate in certs/"


def _ending(certificate: Certificate | None, now: datetime) -> str:
    """Say that one put there by hand ends soon: nobody else will."""
    if certificate is None or not certificate.manual:
        return ""
    days = (certificate.not_after - now).days
    return f"put there by hand and ends in {days} days" if days < 30 else ""
