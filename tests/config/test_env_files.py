from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.env_files import (
    environment,
    read_env_file,
    read_env_text,
    set_variable,
)
from haloy.errors import ConfigError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return the configuration's folder, the current one and the client's."""
    made = tuple(tmp_path / name for name in ("config", "here", "client"))
    for folder in made:
        folder.mkdir()
    return made[0], made[1], made[2]


def test_the_order_of_precedence(folders: tuple[Path, Path, Path]) -> None:
    """CLI section 9, point 9: process, .env.<target>, .env.local, .env, client."""
    config, here, client = folders
    places = [
        config / ".env.web",
        config / ".env.local",
        config / ".env",
        here / ".env.web",
        here / ".env.local",
        here / ".env",
        client / ".env.local",
        client / ".env",
    ]
    # Place number i sets V0 … Vi, so that Vi is missing from all places before i.
    for i, place in enumerate(places):
        place.write_text(
            "".join(f"V{j}={i}\n" for j in range(len(places)) if j >= i) + f"P={i}\n"
        )
    seen = environment({"P": "process"}, folders, "web")
    assert seen["P"] == "process"
    assert seen["V7"] == "0"
    for i, place in enumerate(places):
        assert environment({}, folders, "web")["V7"] == str(i)
        place.unlink()
    assert environment({}, folders, "web") == {}


def test_a_file_that_cannot_be_read_is_not_passed_over(
    folders: tuple[Path, Path, Path],
) -> None:
    """C{.env.web} that is there and does not count would deploy the values of .env."""
    (folders[0] / ".env").write_text("A=1\n")
    (folders[0] / ".env.web").symlink_to(".env.web")  # also root cannot read it
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        environment({}, folders, "web")
    assert caught.value.path == str(folders[0] / ".env.web")
    (folders[1] / ".env").mkdir()
    assert environment({}, folders) == {"A": "1"}


def test_a_target_s_file_is_for_that_target_only(
    folders: tuple[Path, Path, Path],
) -> None:
    """CLI section 9, point 9: with several targets each has its own variables."""
    (folders[0] / ".env.web").write_text("A=web\n")
    (folders[0] / ".env.db").write_text("A=db\n")
    assert environment({}, folders, "web") == {"A": "web"}
    assert environment({}, folders, "db") == {"A": "db"}
    assert environment({}, folders) == {}


def test_one_folder_in_two_roles_is_read_once(tmp_path: Path) -> None:
    """The configuration often is in the current folder."""
    (tmp_path / ".env").write_text("A=1\n")
    assert environment({}, (tmp_path, tmp_path)) == {"A": "1"}


def test_a_missing_file_has_no_variables(tmp_path: Path) -> None:
    """Nor has a folder of that name, or bytes that are no assignment."""
    assert read_env_file(tmp_path / "nope") == {}
    assert read_env_file(tmp_path) == {}
    (tmp_path / "x").write_bytes(b"\xff\xfe\nA=1\n")
    assert read_env_file(tmp_path / "x") == {"A": "1"}
    assert read_env_text(tmp_path / "x").bad_lines == (1,)


def test_an_edited_file_is_private(tmp_path: Path) -> None:
    """CLI section 9, point 10: a world-readable file becomes 0600."""
    path = tmp_path / ".env"
    path.write_text("# mine\nOTHER=1\n")
    path.chmod(0o644)
    set_variable(path, "TOKEN", "s")
    assert path.read_text() == '# mine\nOTHER=1\nTOKEN="s"\n'
    assert path.stat().st_mode & 0o777 == 0o600
    set_variable(path, "TOKEN", None)
    assert path.read_text() == "# mine\nOTHER=1\n"


def test_a_new_file_is_private(tmp_path: Path) -> None:
    """The folder is made when it is missing."""
    path = tmp_path / "new" / ".env"
    set_variable(path, "TOKEN", "1")
    assert path.read_text() == "TOKEN=1\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
