"""What certificates leave on disk: C{NAME.pem}, accounts, what is remembered.

The folder is 0700, files 0600, written atomically. C{cert-storage/} of a Go daemon
beside it is read and never written. A damaged file is moved aside and told, never
deleted. Everything here blocks for the disk.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from haloy.certs.jose import AccountKey
from haloy.certs.memory import Memory, from_json, to_json
from haloy.certs.pem import parse_pem, render_pem
from haloy.config.private import make_directory, set_aside, stamp, write_private
from haloy.errors import CertificateError
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

#: The Go daemon's folder, and the file of its account in it.
OLD_FOLDER = "cert-storage"
OLD_ACCOUNT = "accounts/account.json"
MEMORY = "state.json"
#: What is read of a file at most.
LIMIT_BYTES = 1 << 20


class NotWritten(CertificateError):
    """The disk does not take it."""


@frozen
class Account:
    """An account at one CA; C{url} is C{""} until the CA has told it."""

    directory: str
    key: AccountKey
    url: str = ""


@define(eq=False)
class CertificateFiles:
    """The folder C{certs/}, and C{cert-storage/} beside it for reading."""

    _folder: Path
    _log: Logger = field(factory=Logger, init=False)

    # --- certificates ------------------------------------------------------------

    def load(self, now: datetime) -> dict[DomainName, Certificate]:
        """Return all certificates by name; a damaged file is moved aside.

        A file name in any letter case is found (P17, D17). Of two for a name the
        one of C{certs/} counts, unless it has ended and the other has not.
        """
        found: dict[DomainName, Certificate] = {}
        for folder in (self._folder.with_name(OLD_FOLDER), self._folder):
            for path in self._listed(folder):
                certificate = self._read(path, now)
                if certificate is None:
                    continue
                before = found.get(certificate.name)
                if (
                    before is not None
                    and certificate.not_after <= now < before.not_after
                ):
                    continue
                found[certificate.name] = certificate
        return found

    def save(self, certificate: Certificate, now: datetime) -> None:
        """Write a certificate in the place of the one before it.

        One that was put there by hand is kept beside it.

        @raise NotWritten: the disk does not take it.
        """
        path = self._folder / f"{certificate.name}.pem"
        aside: Path | None = None
        try:
            before = parse_pem(certificate.name, path.read_bytes())
            if before.manual and not certificate.manual:
                name = path.with_name(f"{path.name}.replaced-{stamp(now)}")
                name.hardlink_to(path)  # in its place, too, until there is another
                aside = name
        except (OSError, CertificateError):
            pass  # none, or none that is worth keeping
        try:
            make_directory(self._folder)
            write_private(path, render_pem(certificate))
        except OSError as problem:
            if aside is not None:
                aside.unlink(missing_ok=True)
            raise NotWritten(
                f"{path} cannot be written: {problem.strerror}", domain=certificate.name
            ) from problem

    def _listed(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.glob("*.pem") if path.is_file())
        except OSError as problem:
            self._log.error(
                "{folder} cannot be read: {problem}",
                folder=str(folder),
                problem=str(problem),
            )
            return []

    def _read(self, path: Path, now: datetime) -> Certificate | None:
        name = path.name.removesuffix(".pem").lower()
        try:
            with path.open("rb") as file:
                certificate = parse_pem(name, file.read(LIMIT_BYTES))
        except OSError as problem:
            self._log.error(
                "certificate {path} cannot be read: {problem}",
                path=str(path),
                problem=problem.strerror,
            )
            return None
        except CertificateError as problem:
            if path.parent == self._folder:
                self._set_aside(path, now, problem.reason)
            else:
                self._log.error(
                    "certificate {path} is not used: it {problem}",
                    path=str(path),
                    problem=problem.reason,
                )
            return None
        if path.parent != self._folder:
            return evolve(certificate, manual=False)  # the Go daemon renewed all
        return certificate

    def _set_aside(self, path: Path, now: datetime, problem: str) -> None:
        try:
            aside = set_aside(path, now)
        except OSError:
            aside = path
        self._log.error(
            "{path} is not used: it {problem}; kept as {aside}",
            path=str(path),
            problem=problem,
            aside=aside.name,
        )

    # --- accounts -----------------------------------------------------------------

    def account(self, directory: str, now: datetime) -> Account:
        """Return the account at a CA, with a new key the first time.

        Kept under the directory's URL: another CA never sees this key (D16). The
        Go daemon's account goes on where it is one of the same CA.
        """
        path = self._account_path(directory)
        try:
            found = json.loads(path.read_bytes())
            return Account(
                directory, AccountKey.from_pem(found["key"].encode()), str(found["url"])
            )
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            self._set_aside(path, now, f"is no account: {type(problem).__name__}")
        account = self._old_account(directory) or Account(
            directory, AccountKey.generate()
        )
        self.save_account(account)
        return account

    def save_account(self, account: Account) -> None:
        """Keep C{account}. @raise NotWritten: the disk does not take it."""
        path = self._account_path(account.directory)
        content = {
            "directory": account.directory,
            "url": account.url,
            "key": account.key.to_pem().decode(),
        }
        try:
            make_directory(self._folder)
            write_private(path, json.dumps(content, indent=1).encode())
        except OSError as problem:
            raise NotWritten(
                f"{path} cannot be written: {problem.strerror}"
            ) from problem

    def _account_path(self, directory: str) -> Path:
        name = hashlib.sha256(directory.encode()).hexdigest()[:16]
        return self._folder / "accounts" / f"{name}.json"

    def _old_account(self, directory: str) -> Account | None:
        """Return the Go daemon's account if it is one at this very CA.

        Its file does not say which CA: its URL has the host of the directory.
        """
        path = self._folder.with_name(OLD_FOLDER) / OLD_ACCOUNT
        try:
            found = json.loads(path.read_bytes())
            url = str(found["url"])
            if urlsplit(url).netloc != urlsplit(directory).netloc:
                return None
            key = AccountKey.from_pem(base64.b64decode(found["private_key"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._log.warn(
                "{path} is no account that can be taken over", path=str(path)
            )
            return None
        self._log.info("the account {url} of {path} goes on", url=url, path=str(path))
        return Account(directory, key, url)

    # --- memory -------------------------------------------------------------------

    def load_memory(self, now: datetime) -> Memory:
        """Return what is remembered; a damaged file is moved aside and forgotten."""
        path = self._folder / MEMORY
        try:
            return from_json(path.read_text())
        except FileNotFoundError:
            return Memory()
        except OSError as problem:
            self._log.error(
                "{path} cannot be read: {problem}",
                path=str(path),
                problem=problem.strerror,
            )
            return Memory()
        except (CertificateError, UnicodeDecodeError) as problem:
            self._set_aside(path, now, str(problem))
            return Memory()

    def save_memory(self, memory: Memory) -> None:
        """Keep C{memory}. @raise NotWritten: the disk does not take it."""
        path = self._folder / MEMORY
        try:
            make_directory(self._folder)
            write_private(path, to_json(memory).encode())
        except OSError as problem:
            raise NotWritten(
                f"{path} cannot be written: {problem.strerror}"
            ) from problem
