"""Something that happened on a server, for those who follow."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen


@frozen
class Event:
    """One thing that happened.

    C{kind} is C{deployment}, C{health} or C{certificate}; C{subject} the deployment's
    id, the replica's name or the domain; C{app} is empty where no app is concerned.
    C{seq} counts up; 0 is not written yet.
    """

    kind: str
    app: str
    subject: str
    state: str
    reason: str
    at: datetime
    seq: int = 0
