from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.app_file import (
    BuildArg,
    BuildConfig,
    EnvVar,
    ImageConfig,
    Target,
    ValueFrom,
)
from haloy.config.interpolate import interpolate
from haloy.errors import InvalidValue


def _values(**said: str) -> dict[str, str | None]:
    target = Target(env=tuple(EnvVar(name, value) for name, value in said.items()))
    return {one.name: one.value for one in interpolate(target).env or ()}


def test_references_to_other_variables_are_replaced() -> None:
    """In order of need, not of writing."""
    assert _values(
        URL="postgres://u:${PW}@${HOST}/x", PW="s", HOST="${N}-db", N="n"
    ) == {
        "URL": "postgres://u:s@n-db/x",
        "PW": "s",
        "HOST": "n-db",
        "N": "n",
    }


@pytest.mark.parametrize("text", ["${NOPE}", "$A", "${}", "${1A}", "${A", "$${B-x}"])
def test_what_is_no_reference_stays(text: str) -> None:
    """Unknown names, $NAME and half references are text."""
    assert _values(A="1", B=text)["B"] == text


def test_replaced_text_is_not_read_again() -> None:
    """A secret that looks like a reference after replacement is left alone."""
    assert _values(A="${B}{C}", B="$", C="no")["A"] == "${C}"


@pytest.mark.parametrize(
    "said",
    [
        {"A": "${A}"},
        {"A": "${B}", "B": "${A}"},
        {"A": "${B}", "B": "${C}", "C": "${B}"},
    ],
)
def test_circles_are_refused(said: dict[str, str]) -> None:
    """The error names the circle."""
    with pytest.raises(InvalidValue, match="circle: ") as caught:
        _values(**said)
    assert caught.value.field == "env"
    assert "B" in str(caught.value) or "A -> A" in str(caught.value)


def test_long_chains_and_no_variables() -> None:
    """A chain of thousands is fine, and so is a target without any."""
    chain = {f"V{i}": f"${{V{i + 1}}}" for i in range(3000)} | {"V3000": "x"}
    assert set(_values(**chain).values()) == {"x"}
    assert interpolate(Target()) == Target()
    assert interpolate(Target(env=())) == Target(env=())


def test_values_do_not_grow_without_end() -> None:
    """Doubling stops at what a process can take."""
    said = {f"V{i}": f"${{V{i + 1}}}" * 8 for i in range(12)} | {"V12": "xxxxxxxx"}
    with pytest.raises(InvalidValue, match="128 KiB"):
        _values(**said)


def test_build_arguments_get_the_replaced_value() -> None:
    """An argument copied from a variable follows it; one of its own does not."""
    build = BuildConfig(
        args=(BuildArg("URL", "${H}/x"), BuildArg("OWN", "${H}"), BuildArg("PASSED"))
    )
    target = Target(
        env=(EnvVar("H", "h"), EnvVar("URL", "${H}/x", build_arg=True)),
        image=ImageConfig(build_config=build),
    )
    image = interpolate(target).image
    assert image is not None
    assert image.build_config is not None
    assert image.build_config.args == (
        BuildArg("URL", "h/x"),
        BuildArg("OWN", "${H}"),
        BuildArg("PASSED"),
    )


def test_unresolved_sources_are_left() -> None:
    """A variable without a value yet is no reference's aim."""
    env = (EnvVar("A", source=ValueFrom(env="X")), EnvVar("B", "${A}"))
    assert interpolate(Target(env=env)).env == env


@given(
    st.dictionaries(
        st.sampled_from("ABCDE"),
        st.lists(st.sampled_from(["x", "${A}", "${B}", "${C}", "$"])).map("".join),
    )
)
def test_without_references_left_there_is_nothing_to_do(said: dict[str, str]) -> None:
    """A second pass changes nothing where values had no dollar of their own."""
    values = {name: value.replace("$}", "") for name, value in said.items()}
    plain = all("$" not in v.replace("${", "") for v in values.values())
    try:
        once = _values(**values)
    except InvalidValue:
        return
    if plain:
        again = _values(**{name: str(value) for name, value in once.items()})
        assert again == once


def test_the_target_keeps_everything_else() -> None:
    """Only values change."""
    target = Target(name="a", env=(EnvVar("A", "x", build_arg=True),))
    assert interpolate(target) == evolve(target, name="a")
