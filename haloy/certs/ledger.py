"""What is remembered of orders, kept on disk before and after each of them.

An order is written down before the CA hears of it: a daemon that is killed again and
again stays below the CA's limits, and none is sent that the disk cannot keep.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from attrs import define, field
from twisted.logger import Logger

from haloy.certs.acme_http import AcmeError
from haloy.certs.authority import Run
from haloy.certs.files import CertificateFiles, NotWritten
from haloy.certs.memory import Attempt, Failures, Memory, Window
from haloy.certs.need import Decision, after_failure
from haloy.errors import HaloyError
from haloy.model.names import DomainName

#: How long an account rests when the CA says "too many" without saying for how long.
PAUSE: Final = timedelta(hours=1)
#: No CA means more than this: limits are by the week. A mistake of its own must not
#: keep a name without a certificate for years.
LONGEST_S: Final = 7 * 86400.0
#: Kinds of failure that the CA counts against us.
COUNTED: Final = frozenset({"validation", "rejected", "timeout"})


@define(eq=False)
class Ledger:
    """The memory, and the file of it.

    @ivar _run: runs a blocking function in a thread; one after the other.
    @ivar memory: what is remembered.
    """

    _files: CertificateFiles
    _run: Run
    _now: Callable[[], datetime]
    _random: random.Random
    memory: Memory = field(factory=Memory, init=False)
    _log: Logger = field(factory=Logger, init=False)

    async def load(self, authorities: Collection[str]) -> None:
        """Read what an earlier life has written.

        @param authorities: the directories that are configured now.
        """
        memory = await self._run(self._files.load_memory, self._now())
        self.memory = memory.known_to(authorities)

    def disproven(self, decision: Decision) -> int:
        """Return how often it has failed in a row, if the last time by a challenge.

        A CA that was away has said nothing of them: 0.
        """
        failures = self.memory.failures.get(decision.name)
        if failures is None or failures.names != decision.names:
            return 0
        return failures.count if failures.kind == "validation" else 0

    async def began(self, decision: Decision) -> Attempt:
        """Write down an order before it is sent; it counts as failed until it is not.

        @raise CertificateError: the disk does not take it.
        """
        attempt = Attempt(
            self._now(), decision.names, decision.directory, False, decision.renewal
        )
        self.memory = self.memory.attempted(attempt)
        try:
            await self._run(self._files.save_memory, self.memory)
        except HaloyError:
            self.memory = self.memory.without(attempt)
            raise
        return attempt

    async def cancelled(self, attempt: Attempt) -> None:
        """Forget an order that was taken back."""
        self.memory = self.memory.without(attempt)
        await self.remember()

    async def issued(self, decision: Decision, attempt: Attempt) -> None:
        """Write down that a certificate has come."""
        done = Attempt(
            self._now(), decision.names, decision.directory, True, decision.renewal
        )
        memory = self.memory.without(attempt).forgiven(decision.name)
        self.memory = memory.attempted(done)
        await self.remember()

    async def failed(
        self,
        decision: Decision,
        problem: HaloyError,
        view: tuple[str, ...],
        attempt: Attempt | None,
        *,
        only_one: bool,
    ) -> None:
        """Write down a failure and when the next try is.

        @param view: what DNS said of the names.
        @param attempt: what L{began} gave, C{None}: nobody was asked.
        @param only_one: there is no other CA.
        """
        now = self._now()
        retry_s: float | None = getattr(problem, "retry_after_s", None)
        if retry_s is not None:
            retry_s = min(retry_s, LONGEST_S)
        told = problem if isinstance(problem, AcmeError) else AcmeError(problem.reason)
        if isinstance(problem, NotWritten):
            told.kind = "disk"
        failed = after_failure(
            self.memory.failures.get(decision.name),
            Failures(
                count=0,
                last=now,
                reason=problem.reason,
                names=decision.names,
                not_before=now,
                kind=told.kind,
                problem=told.problem,
                directory=decision.directory,
                view=view,
                document=told.document,
            ),
            # What one CA asks for is no reason not to ask another one.
            retry_s if only_one else None,
            self._random.uniform(-1, 1),
        )
        memory = self.memory.failed(decision.name, failed)
        if told.kind == "rate":
            pause = PAUSE if retry_s is None else timedelta(seconds=retry_s)
            memory = memory.pausing(decision.directory, now + pause)
        if attempt is not None and told.kind not in COUNTED:
            memory = memory.without(attempt)
        self.memory = memory
        self._log.warn(
            "no certificate for {name}: {reason}; next try at {next}",
            name=decision.name,
            reason=problem.reason,
            next=f"{failed.not_before:%Y-%m-%d %H:%M:%S} UTC",
        )
        await self.remember()

    def forgive(self, name: DomainName) -> None:
        """Forget the failures of C{name}: the ladder starts anew."""
        self.memory = self.memory.forgiven(name)

    async def suggested(self, name: DomainName, window: Window) -> None:
        """Write down when the CA wants a certificate renewed."""
        self.memory = self.memory.suggested(name, window)
        await self.remember()

    async def remember(self) -> None:
        """Keep what must survive a restart; a full disk is told and lived with."""
        try:
            await self._run(self._files.save_memory, self.memory)
        except HaloyError as problem:
            self._log.error("{problem}", problem=str(problem))
