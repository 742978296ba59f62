from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve, fields
from hypothesis import example, given
from hypothesis import strategies as st

from haloy.config.units import show_duration, show_size
from haloy.config.wire import wire_name
from haloy.errors import InvalidValue
from haloy.model.app import ProxyOptions
from haloy.model.options import (
    OPTIONS,
    Kind,
    Option,
    options_from_labels,
    options_to_labels,
)

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "app-options.md"


def _values(option: Option) -> st.SearchStrategy[object]:
    if option.choices is not None:
        return st.sampled_from(option.choices)
    if option.kind is Kind.SECONDS and not option.whole:
        # Labels keep nanoseconds.
        low, high = int(option.least * 1000), int(option.most * 1000)
        return st.integers(low, high).map(lambda milliseconds: milliseconds / 1000)
    return st.integers(int(option.least), int(option.most))


ANY_OPTIONS = st.builds(
    ProxyOptions,
    **{option.field: _values(option) for option in OPTIONS},
    response_headers=st.dictionaries(
        st.from_regex(r"\AX-[a-z]{1,8}\Z"),
        st.from_regex(r"\A[!-~]([ -~]{0,20}[!-~])?\Z"),
        max_size=4,
    ).map(lambda headers: tuple(sorted(headers.items()))),
)


@given(ANY_OPTIONS)
@example(ProxyOptions(response_headers=(("X-A", "1"), ("X-B", "2"))))
def test_labels_carry_every_option_unchanged(options: ProxyOptions) -> None:
    """What is written as labels reads back as the same options."""
    assert options_from_labels(options_to_labels(options)) == options


def test_defaults_write_no_label() -> None:
    """A plain app carries no proxy label."""
    assert options_to_labels(ProxyOptions()) == {}


def test_every_option_of_the_proxy_is_in_the_table() -> None:
    """No field of ProxyOptions lacks a key; headers have a row of their own."""
    known = {option.field for option in OPTIONS} | {"response_headers"}
    assert known == {one.name for one in fields(ProxyOptions)}


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("connect-timeout", "0"),
        ("connect-timeout", "61"),
        ("connect-timeout", "nan"),
        ("connect-timeout", "inf"),
        ("connect-timeout", "1e1"),
        ("connect-timeout", "5s"),
        ("connect-timeout", ""),
        ("max-body", "0"),
        ("max-connections", "65536"),
        ("max-connections", "9" * 5000),
        ("balance", "random"),
        ("header.Transfer-Encoding", "chunked"),
        ("header.bad name", "x"),
        ("header.X-A", "a\r\nb"),
        ("header.X-A", ""),
        ("header.X-A", "é"),
    ],
)
def test_a_bad_option_label_is_refused_by_name(label: str, text: str) -> None:
    """A label that would upset the proxy names itself in the error."""
    name = f"dev.haloy.proxy.{label}"
    with pytest.raises(InvalidValue) as caught:
        options_from_labels({name: text})
    assert caught.value.field == name


def test_a_header_given_twice_in_two_cases_is_refused() -> None:
    """Header names do not differ by case (RFC 9110 section 5.1)."""
    with pytest.raises(InvalidValue, match="twice"):
        options_from_labels(
            {"dev.haloy.proxy.header.X-A": "1", "dev.haloy.proxy.header.x-a": "2"}
        )


def test_more_than_32_headers_are_refused() -> None:
    """The number of extra headers is bounded."""
    labels = {f"dev.haloy.proxy.header.X-{i}": "1" for i in range(33)}
    with pytest.raises(InvalidValue, match="32"):
        options_from_labels(labels)


def test_whole_seconds_are_whole() -> None:
    """max-age of HSTS is an integer (RFC 6797 section 6.1.1)."""
    options = options_from_labels({"dev.haloy.proxy.hsts": "31536000.9"})
    assert options.hsts_max_age_s == 31536000
    assert isinstance(options.hsts_max_age_s, int)


def test_small_fractions_survive() -> None:
    """Times below a second are written as decimals, never with an exponent."""
    labels = options_to_labels(evolve(ProxyOptions(), connect_timeout_s=0.25))
    assert labels == {"dev.haloy.proxy.connect-timeout": "0.25"}


def _documented() -> dict[str, list[str]]:
    rows = re.findall(r"^\| `proxy\.(\w+)` \|(.*)\|$", DOCS.read_text(), re.M)
    return {key: [cell.strip(" `") for cell in rest.split("|")] for key, rest in rows}


def _shown(option: Option, value: float | None) -> str:
    if value is None:
        return "not sent" if option.key == "hsts" else "no limit"
    if option.kind is Kind.SECONDS:
        return show_duration(value)
    return show_size(value) if option.kind is Kind.BYTES else f"{value:g}"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.key))
def test_the_documented_table_is_the_one_in_use(option: Option) -> None:
    """docs/reference/app-options.md states key, JSON name, label, default, bounds."""
    json_name, label, default, least, most, capability = _documented()[option.key]
    assert json_name == f"proxy.{wire_name(option.key, camel=True)}"
    assert label == option.label
    assert capability == ("h2c" if option.key == "protocol" else "proxy-options")
    written = getattr(ProxyOptions(), option.field)
    if option.choices is not None:
        assert default == written.value
        known = {one.value for one in option.choices}
        assert {least.removesuffix("` or"), most} == known
    else:
        assert default == _shown(option, written)
        assert least == _shown(option, option.least)
        assert int(float(most) if most.isdigit() else 0) in (0, int(option.most))
        assert most in (_shown(option, option.most), str(int(option.most)))


def test_nothing_is_documented_that_is_not_there() -> None:
    """The table has no row without an option."""
    assert _documented().keys() == {option.key for option in OPTIONS}
