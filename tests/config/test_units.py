from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.units import parse_duration, parse_size, show_duration, show_size
from haloy.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("1m30s", 90),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("7d", 604800),
        ("0s", 0),
        ("1h2m3s", 3723),
        ("100us", 1e-4),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Numbers with units add up to seconds."""
    assert parse_duration(text, "f") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "15",
        "s",
        "1 s",
        "-1s",
        "1s x",
        "1e3s",
        "\u0661s",
        "1m 30s",
        "inf",
        "9" * 999,
    ],
)
def test_what_is_no_duration(text: str) -> None:
    """A number without a unit is refused, and the field is named."""
    with pytest.raises(InvalidValue) as caught:
        parse_duration(text, "health_monitor.interval")
    assert caught.value.field == "health_monitor.interval"


def test_durations_have_bounds() -> None:
    """The error states both bounds."""
    with pytest.raises(InvalidValue, match="1s to 1m"):
        parse_duration("2m", "f", 1, 60)
    assert parse_duration("1m", "f", 1, 60) == 60


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512", 512),
        ("512b", 512),
        ("1k", 1024),
        ("512MB", 512 << 20),
        ("512MiB", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("2T", 2 << 40),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    """Sizes count in 1024, as Docker's do."""
    assert parse_size(text, "f") == size_bytes


@pytest.mark.parametrize("text", ["", "MB", "-1M", "1 PB", "1..5M", "9" * 999, "1m2"])
def test_what_is_no_size(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidValue):
        parse_size(text, "f")


def test_sizes_have_bounds() -> None:
    """The error states both bounds."""
    with pytest.raises(InvalidValue, match="6 MiB to 1 GiB"):
        parse_size("1M", "f", 6 << 20, 1 << 30)


@given(st.integers(0, 10**7))
def test_a_shown_duration_reads_back(seconds: int) -> None:
    """What is shown can be written."""
    assert parse_duration(show_duration(seconds), "f") == seconds


@given(st.integers(0, 1 << 49))
def test_a_shown_size_is_close(size_bytes: int) -> None:
    """What is shown can be written, to the digit that is shown."""
    shown = parse_size(show_size(size_bytes), "f")
    assert shown == pytest.approx(size_bytes, rel=0.06)


@given(st.text(max_size=12))
def test_any_text_is_a_value_or_invalid(text: str) -> None:
    """No text makes the readers fail in another way."""
    for read in (parse_duration, parse_size):
        value: float | None = None
        try:
            value = read(text, "f")
        except InvalidValue:
            continue
        assert value >= 0


def test_small_durations_show_milliseconds() -> None:
    """Below a second the unit changes."""
    assert show_duration(0.25) == "250ms"
    assert show_size(1536) == "1.5 KiB"
