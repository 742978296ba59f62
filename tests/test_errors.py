"""Errors say what a person can act on, and have a word for machines."""

from __future__ import annotations

import pytest

from haloy import errors
from haloy.errors import ConfigError, HaloyError, InvalidValue, blamed

ALL = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, HaloyError)
]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HaloyError("the disk is gone"), "the disk is gone"),
        (
            ConfigError("must be a list", "haloy.yaml", 7),
            "haloy.yaml:7: must be a list",
        ),
        (ConfigError("is not there", "haloy.yaml"), "haloy.yaml: is not there"),
        (ConfigError("HALOY_API_TOKEN is not set"), "HALOY_API_TOKEN is not set"),
        (InvalidValue("must be positive", "replicas"), "replicas: must be positive"),
        (InvalidValue("must be positive"), "must be positive"),
    ],
)
def test_the_text_names_the_place(error: HaloyError, text: str) -> None:
    """File and line, or the field, stand before the reason, as far as known."""
    assert str(error) == text


def test_each_error_has_a_code_of_its_own() -> None:
    """C{X-Haloy-Error} tells every kind from every other."""
    codes = [one.code for one in ALL]
    assert len(ALL) > 10
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and " " not in code for code in codes)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_needs_a_reason_and_nothing_more(kind: type[HaloyError]) -> None:
    """Every further field has a default."""
    assert str(kind("the reason")) == "the reason"


def test_two_errors_are_not_equal() -> None:
    """An error is an event, not a value: the same text twice is two of them."""
    assert HaloyError("again") != HaloyError("again")


def test_a_problem_of_a_field_is_one_of_the_file_it_came_from() -> None:
    """Others stay what they are."""
    assert str(blamed(HaloyError("pem: is empty"), "pem", "a.pem")) == "a.pem: is empty"
    other = HaloyError("the disk is gone")
    assert blamed(other, "pem", "a.pem") is other
