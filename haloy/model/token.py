"""Who may do what at the API, and the trail of who did."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen


@frozen
class Token:
    """One token; C{apps} empty is all apps. Times are aware."""

    name: str
    hash: bytes = field(repr=False)
    scopes: tuple[str, ...]
    apps: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@frozen
class AuditEntry:
    """One action; C{result} is C{ok} or the code of an error."""

    seq: int
    at: datetime
    token: str
    address: str
    action: str
    subject: str
    result: str
