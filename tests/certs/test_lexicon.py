"""What the program C{certs.lexicon} reads and says."""

from __future__ import annotations

import io
import json

import pytest

from haloy.certs.lexicon import main


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("no json", "Expecting value"),
        (json.dumps({"config": {}}), "domain"),
        (
            json.dumps({"config": {"domain": "example.org", "provider_name": "moon"}}),
            "moon",
        ),
    ],
)
def test_trouble_is_one_line(
    asked: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And exit status 1; what works is tried in test_dns01, as a process."""
    monkeypatch.setenv("TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS", "")
    monkeypatch.setenv("TLDEXTRACT_CACHE_PATH", "")
    monkeypatch.setattr("sys.stdin", io.StringIO(asked))
    assert main() == 1
    out = capsys.readouterr().out
    assert said in out
    assert out.count("\n") == 1
