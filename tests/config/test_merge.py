from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from haloy.config.app_file import AppFile, BuildArg, History, ImageConfig, Target
from haloy.config.merge import InvalidTarget, targets
from haloy.config.validate import validate_target
from haloy.config.wire import app_file_from, target_to_json


def _file(**said: Any) -> AppFile:
    return app_file_from(said, camel=False)


def _one(**said: Any) -> Target:
    (target,) = targets(_file(**said)).values()
    return target


def _many(root: dict[str, Any], **entries: Any) -> dict[str, Target]:
    return targets(_file(**root, targets=entries))


def _image_of(target: Target) -> ImageConfig:
    assert target.image is not None
    return target.image


def test_the_least_file_has_every_default() -> None:
    """A name alone builds the app's own image and sends it to localhost."""
    target = _one(name="web")
    validate_target(target)
    assert (target.server, target.port, target.replicas) == ("localhost", "8080", 1)
    assert (target.deployment_strategy, target.naming_strategy) == ("rolling", None)
    assert (target.health_check_path, target.min_ready_seconds) == ("/", 0)
    image = _image_of(target)
    assert (image.repository, image.tag, image.build) == ("web", None, True)
    assert image.history == History("local", 6)
    assert image.build_config is not None
    assert image.build_config.platform == "linux/amd64"


def test_where_a_build_goes_is_always_said() -> None:
    """D10, CLI section 9, point 12: push is explicit, so no public image is taken."""
    image = _image_of(_one(name="web"))
    assert image.build_config is not None
    assert image.build_config.push == "server"
    login = {"username": {"value": "u"}, "password": {"value": "p"}}
    image = _image_of(
        _one(name="web", image={"build": True, "registry": login, "repository": "a/b"})
    )
    assert image.build_config is not None
    assert image.build_config.push == "registry"


def test_an_image_that_is_not_built_has_no_build_config() -> None:
    """Pulled images are sent as written."""
    image = _image_of(_one(name="web", image="nginx:1.2"))
    assert image == ImageConfig("nginx:1.2", history=History("local", 6))


@pytest.mark.parametrize("name", [None, ""])
def test_a_single_target_needs_a_name(name: str | None) -> None:
    """An empty file too is refused for its name."""
    with pytest.raises(InvalidTarget) as caught:
        targets(_file(name=name))
    assert (caught.value.field, caught.value.target) == ("name", "")


def test_the_name_of_the_root_is_not_inherited() -> None:
    """A target is named by itself or its key."""
    merged = _many({"name": "root"}, a={}, b={"name": "other"})
    assert [one.name for one in merged.values()] == ["a", "other"]


def test_two_apps_cannot_have_one_name() -> None:
    """Neither by key nor by name."""
    with pytest.raises(InvalidTarget, match="both named a") as caught:
        _many({}, a={}, b={"name": "a"})
    assert caught.value.target == "b"


@pytest.mark.parametrize("key", ["a.b", "a b", ""])
def test_a_target_s_key_is_an_app_name(key: str) -> None:
    """CLI section 9, point 6: a dot is refused for what it is."""
    with pytest.raises(InvalidTarget, match="app name") as caught:
        _many({}, **{key: {}})
    assert (caught.value.field, caught.value.target) == ("name", key)


def test_unset_is_inherited_and_empty_is_not() -> None:
    """A list that is present and empty counts as set."""
    root = {"volumes": ["d1:/d"], "pre_deploy": ["x"], "replicas": 3, "port": 1}
    merged = _many(root, a={}, b={"volumes": [], "pre_deploy": None, "replicas": 2})
    assert merged["a"].volumes == ("d1:/d",)
    assert merged["b"].volumes == ()
    assert merged["b"].pre_deploy == ("x",)
    assert [one.replicas for one in merged.values()] == [3, 2]
    assert [one.port for one in merged.values()] == ["1", "1"]


def test_false_and_zero_count_as_set() -> None:
    """Root true, target false is false."""
    merged = _many({"protected": True, "min_ready_seconds": 5}, a={"protected": False})
    assert merged["a"].protected is False
    merged = _many({"min_ready_seconds": 5}, a={"min_ready_seconds": 0})
    assert merged["a"].min_ready_seconds == 0


def test_variables_merge_by_name() -> None:
    """Root order first, the target's value wins, the last of two counts."""
    root = {
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "1"},
            {"name": "B", "value": "2"},
        ]
    }
    own = [{"name": "C", "value": "3"}, {"name": "A", "value": "9"}]
    env = _many(root, a={"env": own}, b={"env": []})
    assert [(one.name, one.value) for one in env["a"].env or ()] == [
        ("A", "9"),
        ("B", "2"),
        ("C", "3"),
    ]
    assert [(one.name, one.value) for one in env["b"].env or ()] == [
        ("A", "1"),
        ("B", "2"),
    ]


def test_image_fields_are_replaced_as_a_whole() -> None:
    """build_config is not merged key by key."""
    root = {
        "image": {
            "repository": "r",
            "tag": "1",
            "build_config": {"context": "c", "dockerfile": "d"},
        }
    }
    merged = _many(root, a={"image": {"tag": "2", "build_config": {"context": "x"}}})
    image = _image_of(merged["a"])
    assert (image.repository, image.tag) == ("r", "2")
    assert image.build_config is not None
    assert (image.build_config.context, image.build_config.dockerfile) == ("x", None)


def test_named_images_work() -> None:
    """CLI section 9, point 3: image_key takes an entry of images, and is gone then."""
    merged = _many(
        {"images": {"api": "ghcr.io/a/b:1", "bad": "not used"}},
        a={"image_key": "api"},
    )
    assert _image_of(merged["a"]).repository == "ghcr.io/a/b:1"
    assert merged["a"].image_key is None
    validate_target(merged["a"])
    merged = _many({"images": {"api": "x"}, "image_key": "api"}, a={}, b={"image": "y"})
    assert [_image_of(one).repository for one in merged.values()] == ["x", "y"]
    assert _image_of(_one(name="n", images={"i": "x"}, image_key="i")).repository == "x"


def test_a_target_s_image_key_comes_before_the_root_image() -> None:
    """What the target says wins, as a whole."""
    root = {"images": {"k": "x"}, "image": {"repository": "r", "tag": "1"}}
    image = _image_of(_many(root, a={"image_key": "k"})["a"])
    assert (image.repository, image.tag) == ("x", None)


def test_unknown_and_double_images_are_refused() -> None:
    """An image_key must exist, and excludes an image beside it."""
    with pytest.raises(InvalidTarget, match="known: api"):
        _many({"images": {"api": "x"}}, a={"image_key": "apu"})
    with pytest.raises(InvalidTarget, match="not both"):
        _many({"images": {"api": "x"}}, a={"image_key": "api", "image": "y"})
    with pytest.raises(InvalidTarget, match="not both"):
        _many({"images": {"api": "x"}, "image_key": "api", "image": "y"}, a={})


@pytest.mark.parametrize("order", [["a", "db"], ["db", "a"]])
def test_targets_do_not_change_each_other(order: list[str]) -> None:
    """CLI section 9, point 7: a shared image keeps its values whatever the order."""
    entries = {"a": {}, "db": {"preset": "database"}}
    merged = _many({"image": {"tag": "1"}}, **{key: entries[key] for key in order})
    assert _image_of(merged["a"]).repository == "a"
    assert _image_of(merged["db"]).repository == "db"
    assert _image_of(merged["a"]).history == History("local", 6)
    assert _image_of(merged["a"]).pull_policy is None
    assert _image_of(merged["db"]).history == History("none")


@pytest.mark.parametrize("preset", ["database", "service"])
def test_presets_come_before_root_values(preset: str) -> None:
    """CLI section 9, point 8: target over preset over root."""
    root = {"deployment_strategy": "rolling", "image": {"history": {"count": 3}}}
    target = _many(root, a={"preset": preset, "image": "postgres:18"})["a"]
    validate_target(target)
    assert (target.deployment_strategy, target.naming_strategy) == ("replace", "static")
    image = _image_of(target)
    assert (image.history, image.pull_policy) == (History("none"), "if_missing")
    assert target.protected is (True if preset == "database" else None)


def test_what_a_target_says_comes_before_its_preset() -> None:
    """Also where that makes the target wrong, which is told."""
    target = _many(
        {},
        a={
            "preset": "service",
            "naming_strategy": "dynamic",
            "deployment_strategy": "rolling",
            "image": {
                "repository": "r",
                "pull_policy": "always",
                "history": {"count": 2},
            },
        },
    )["a"]
    validate_target(target)
    assert target.naming_strategy == "dynamic"
    assert _image_of(target).history == History("local", 2)
    assert _image_of(target).pull_policy == "always"


@pytest.mark.parametrize(
    ("root", "own", "protected"),
    [
        ({}, {}, True),
        ({}, {"protected": False}, False),
        ({"protected": False}, {}, False),
        ({"protected": True}, {"protected": False}, False),
        ({"protected": False}, {"protected": True}, True),
    ],
)
def test_protected_false_wins_over_the_preset(
    root: dict[str, Any], own: dict[str, Any], protected: bool
) -> None:
    """CLI section 9, point 8: what is said is kept."""
    merged = _many(root, a={"preset": "database", "image": "p:1", **own})
    assert merged["a"].protected is protected


def test_a_preset_without_an_image_keeps_the_build_defaults() -> None:
    """There is nothing to set a pull policy on."""
    image = _image_of(_many({"preset": "service"}, a={})["a"])
    assert (image.history, image.pull_policy) == (History("local", 6), None)
    assert image.build is True


def test_an_unknown_preset_is_refused() -> None:
    """By name, in the target."""
    with pytest.raises(InvalidTarget) as caught:
        _many({}, a={"preset": "default"})
    assert (caught.value.field, caught.value.target) == ("preset", "a")


def test_variables_become_build_arguments() -> None:
    """build_arg adds to the arguments; an explicit one of that name wins."""
    env = [
        {"name": "A", "value": "1", "build_arg": True},
        {"name": "B", "from": {"env": "X"}, "build_arg": True},
        {"name": "C", "value": "3"},
    ]
    args = [{"name": "A", "value": "own"}]
    image = _image_of(_one(name="n", env=env, image={"build_config": {"args": args}}))
    assert image.build_config is not None
    assert [(one.name, one.value) for one in image.build_config.args or ()] == [
        ("A", "own"),
        ("B", None),
    ]
    assert isinstance((image.build_config.args or ())[1], BuildArg)
    unbuilt = _image_of(_one(name="n", env=env, image="nginx"))
    assert unbuilt.build_config is None


def test_history_without_strategy_is_local() -> None:
    """And local without a count keeps six."""
    image = _image_of(_one(name="n", image={"history": {"count": 2}}))
    assert image.history == History("local", 2)
    image = _image_of(_one(name="n", image={"history": {"strategy": "none"}}))
    assert image.history == History("none", None)


def test_a_missing_server_is_the_only_one_known() -> None:
    """None known: localhost. Several: a list to choose from."""
    file = _file(name="n")
    assert targets(file)["n"].server == "localhost"
    assert targets(file, ["a.com"])["n"].server == "a.com"
    with pytest.raises(InvalidTarget, match=r"a\.com, b\.com"):
        targets(file, ["b.com", "a.com"])
    assert targets(_file(name="n", server="s"), ["a", "b"])["n"].server == "s"


def test_only_some_targets_are_merged() -> None:
    """What is wrong in another target does not matter then."""
    file = _file(targets={"a": {}, "b": {"preset": "bad"}})
    assert list(targets(file, only={"a"})) == ["a"]


MERGED_AGAIN = st.fixed_dictionaries(
    {"name": st.sampled_from(["web", "db"])},
    optional={
        "preset": st.sampled_from(["database", "service"]),
        "image": st.sampled_from(
            [
                "nginx:1",
                {"repository": "r", "history": {"count": 2}},
                {"repository": "r", "build_config": {"args": [{"name": "A"}]}},
                {"build": True},
                {"tag": "1", "pull_policy": "never"},
            ]
        ),
        "env": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("ABC"), "value": st.sampled_from("xy")},
                optional={"build_arg": st.booleans()},
            ),
            max_size=4,
        ),
        "deployment_strategy": st.sampled_from(["rolling", "replace", "blue_green"]),
        "protected": st.booleans(),
        "replicas": st.integers(1, 3),
        "port": st.integers(1, 65535),
        "volumes": st.just(["data:/d"]),
        "server": st.just("a.com"),
    },
)


@given(MERGED_AGAIN)
def test_merging_what_is_merged_changes_nothing(said: dict[str, Any]) -> None:
    """A stored configuration that is merged again is the same (rollback)."""
    assume("preset" not in said or "image" in said)
    once = _one(**said)
    again = targets(app_file_from(target_to_json(once), camel=True))
    assert again == {once.name: once}


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "a.b"]),
        MERGED_AGAIN | st.just({}),
        max_size=3,
    ),
    MERGED_AGAIN,
)
def test_any_targets_merge_or_are_invalid(
    entries: dict[str, Any], root: dict[str, Any]
) -> None:
    """And what merges has all that the daemon needs."""
    try:
        merged = _many(root, **entries)
    except InvalidTarget:
        return
    for target in merged.values():
        body = target_to_json(target)
        for key in ("name", "image", "server", "deploymentStrategy", "port"):
            assert body[key]
        assert body["replicas"] >= 1
        assert body["minReadySeconds"] >= 0
        assert body["image"]["history"]["strategy"]


def test_an_app_s_default_repository_is_lower_case() -> None:
    """Docker takes no other."""
    assert _image_of(_one(name="MyApp")).repository == "myapp"
