"""What C{certs.files} finds and leaves on disk."""

from __future__ import annotations

import base64
import errno
import json
import stat
from pathlib import Path

import pytest
from attrs import evolve

from haloy.certs.files import Account, CertificateFiles, NotWritten
from haloy.certs.jose import AccountKey
from haloy.certs.memory import Memory
from haloy.certs.pem import render_pem
from haloy.errors import CertificateError
from haloy.model.names import DomainName
from tests.support.certificates import DAY, NOW, make, make_pem

LE = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
SHOP = DomainName("shop.example.com")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


@pytest.fixture
def files(folder: Path) -> CertificateFiles:
    return CertificateFiles(folder)


def put(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


# --- certificates -------------------------------------------------------------


def test_nothing_there_is_no_trouble(files: CertificateFiles) -> None:
    """Neither folder exists on the first day."""
    assert files.load(NOW) == {}
    assert files.load_memory(NOW) == Memory()


def test_saved_one_is_found_and_private(files: CertificateFiles, folder: Path) -> None:
    """Files 0600, the folder 0700, nothing else left behind."""
    one = make(SHOP, directory=LE)
    files.save(one, NOW)
    assert files.load(NOW) == {SHOP: one}
    assert stat.S_IMODE((folder / f"{SHOP}.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [f"{SHOP}.pem"]


def test_names_are_found_in_any_letter_case(
    files: CertificateFiles, folder: Path
) -> None:
    """P17, D17: a file named as the domain was typed."""
    put(folder, "Shop.Example.com.pem", make_pem("Shop.Example.com"))
    put(folder, "*.Example.com.pem", make_pem("*.example.com"))
    found = files.load(NOW)
    assert set(found) == {SHOP, "*.example.com"}
    assert found[SHOP].names == {SHOP}


def test_damaged_file_is_moved_aside_and_told(
    files: CertificateFiles, folder: Path
) -> None:
    """Never deleted; the others are read."""
    put(folder, "shop.example.com.pem", make_pem(SHOP)[:300])
    put(folder, "good.example.com.pem", make_pem("good.example.com"))
    assert set(files.load(NOW)) == {"good.example.com"}
    assert (folder / "shop.example.com.pem.corrupt-20261124T120000Z").exists()
    assert not (folder / "shop.example.com.pem").exists()


def test_file_that_cannot_be_read_stays_where_it_is(
    files: CertificateFiles, folder: Path
) -> None:
    """It may be readable tomorrow: a dangling link, a wrong mode."""
    folder.mkdir()
    (folder / "dir.example.com.pem").mkdir()
    link = folder / "shop.example.com.pem"
    link.symlink_to(folder / "loop.pem")
    (folder / "loop.pem").symlink_to(link)
    assert files.load(NOW) == {}
    assert link.is_symlink()


def test_certificates_of_the_go_daemon_are_read_and_left_alone(
    files: CertificateFiles, folder: Path
) -> None:
    """They go on and are renewed: it made no difference between its own and others."""
    old = folder.with_name("cert-storage")
    bad = put(old, "bad.example.com.pem", b"nonsense")
    put(old, "Shop.example.com.pem", make_pem(SHOP))
    found = files.load(NOW)
    assert set(found) == {SHOP}
    assert (found[SHOP].manual, found[SHOP].directory) == (False, "")
    assert bad.exists()


def test_of_two_for_a_name_ours_counts_while_it_is_valid(
    files: CertificateFiles, folder: Path
) -> None:
    """C{certs/} before C{cert-storage/}, a valid one before one that has ended."""
    old = folder.with_name("cert-storage")
    put(old, "shop.example.com.pem", make_pem(SHOP, life=365 * DAY))
    ours = make(SHOP, directory=LE)
    put(folder, "shop.example.com.pem", render_pem(ours))
    assert files.load(NOW) == {SHOP: ours}
    assert files.load(ours.not_after)[SHOP].directory == ""
    assert files.load(NOW + 400 * DAY) == {SHOP: ours}


def test_one_put_there_by_hand_is_kept_when_it_is_replaced(
    files: CertificateFiles, folder: Path
) -> None:
    """It had ended; somebody may still want its key."""
    path = put(folder, "shop.example.com.pem", make_pem(SHOP))
    before = path.read_bytes()
    files.save(make(SHOP, directory=LE), NOW)
    kept = folder / "shop.example.com.pem.replaced-20261124T120000Z"
    assert kept.read_bytes() == before
    files.save(make(SHOP, directory=LE), NOW + DAY)
    assert len(list(folder.iterdir())) == 2


def test_one_put_there_by_hand_stays_when_the_disk_is_full(
    files: CertificateFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place, whole, and alone."""
    path = put(folder, "shop.example.com.pem", make_pem(SHOP))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NotWritten, match="No space left"):
        files.save(make(SHOP, directory=LE), NOW)
    assert [one.read_bytes() for one in folder.iterdir()] == [before]


def test_full_disk_is_one_error_with_a_reason(folder: Path) -> None:
    """Here: a file where the folder should be."""
    folder.write_text("in the way")
    files = CertificateFiles(folder)
    with pytest.raises(CertificateError, match="cannot be written"):
        files.save(make(SHOP), NOW)
    with pytest.raises(CertificateError, match="cannot be written"):
        files.save_memory(Memory())
    with pytest.raises(CertificateError, match="cannot be written"):
        files.account(LE, NOW)
    assert files.load(NOW) == {}
    assert files.load_memory(NOW) == Memory()


# --- accounts -----------------------------------------------------------------


def test_account_is_kept_by_directory(files: CertificateFiles, folder: Path) -> None:
    """D16: staging never uses the account of production."""
    first = files.account(LE, NOW)
    assert first.url == ""
    files.save_account(evolve(first, url="https://ca.example/acct/1"))
    again = files.account(LE, NOW)
    assert again.url == "https://ca.example/acct/1"
    assert again.key.thumbprint() == first.key.thumbprint()
    assert files.account(STAGING, NOW).key.thumbprint() != first.key.thumbprint()
    kept = list((folder / "accounts").iterdir())
    assert len(kept) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"url": "", "key": 3}', b'{"url": "", "key": ""}']
)
def test_damaged_account_is_moved_aside_and_made_anew(
    files: CertificateFiles, folder: Path, content: bytes
) -> None:
    """Certificates go on being obtained."""
    first = files.account(LE, NOW)
    path = next((folder / "accounts").iterdir())
    path.write_bytes(content)
    again = files.account(LE, NOW)
    assert again.key.thumbprint() != first.key.thumbprint()
    assert path.with_name(f"{path.name}.corrupt-20261124T120000Z").exists()


def go_account(folder: Path, url: str, key: AccountKey) -> None:
    content = {"url": url, "private_key": base64.b64encode(key.to_pem()).decode()}
    place = folder.with_name("cert-storage") / "accounts"
    place.mkdir(parents=True)
    (place / "account.json").write_text(json.dumps(content))


def test_account_of_the_go_daemon_goes_on_at_its_own_ca(
    files: CertificateFiles, folder: Path
) -> None:
    """Its file does not say which CA; the account's URL does."""
    key = AccountKey.generate()
    url = "https://acme-v02.api.letsencrypt.org/acme/acct/7"
    go_account(folder, url, key)
    assert files.account(STAGING, NOW).key.thumbprint() != key.thumbprint()
    found = files.account(LE, NOW)
    assert (found.url, found.key.thumbprint()) == (url, key.thumbprint())


def test_damaged_account_of_the_go_daemon_is_passed_over(
    files: CertificateFiles, folder: Path
) -> None:
    """And left where it is."""
    place = folder.with_name("cert-storage") / "accounts"
    place.mkdir(parents=True)
    (place / "account.json").write_text('{"url": 1}')
    assert files.account(LE, NOW).url == ""
    assert (place / "account.json").exists()


def test_key_of_an_account_does_not_show() -> None:
    """Neither in a repr of the key nor of the account."""
    account = Account(LE, AccountKey.generate())
    assert "PRIVATE" not in repr(account)
    assert "***" in repr(account)


# --- memory -------------------------------------------------------------------


def test_memory_survives_and_damage_is_moved_aside(
    files: CertificateFiles, folder: Path
) -> None:
    """Forgetting the ladder is better than not starting."""
    memory = Memory().pausing(LE, NOW)
    files.save_memory(memory)
    assert files.load_memory(NOW) == memory
    for damage in (b"{", b"\xff\xfe"):
        (folder / "state.json").write_bytes(damage)
        assert files.load_memory(NOW) == Memory()
        assert not (folder / "state.json").exists()
    assert (folder / "state.json.corrupt-20261124T120000Z").exists()
