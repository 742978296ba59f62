"""Building images: what docker is asked to do, and what is said when it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haloy.cli.build import BuildOptions, build_image, build_paths, check_docker
from haloy.cli.output import Output
from haloy.config.app_file import BuildArg, BuildConfig, ImageConfig
from haloy.errors import ConfigError, HaloyError

#: Stands for docker: notes how it was called, and answers as the test says.
DOCKER = """\
#!/bin/sh
if [ "$1 $2" = "buildx version" ]; then exit ${BUILDX:-1}; fi
for word in "$@"; do echo "$word" >>"$NOTES"; done
echo "SECRET=$SECRET DOCKER_BUILDKIT=$DOCKER_BUILDKIT" >>"$NOTES"
echo "${SAYS:-Step 1/1 : FROM scratch}"
exit ${CODE:-0}
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for docker before all else; return what it was told."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    return tmp_path / "notes"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return the folder of an app with a Dockerfile."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    return folder


def _image(**build: object) -> ImageConfig:
    return ImageConfig(
        repository="shop",
        tag="7",
        build_config=BuildConfig(**build),  # type: ignore[arg-type]  # as written
    )


def test_the_command(notes: Path, app: Path) -> None:
    """Dockerfile, platform, arguments, tag and context, by absolute paths."""
    build_image(_image(args=(BuildArg("A", "1"), BuildArg("B"))), app, Output())
    told = notes.read_text().splitlines()
    assert told[:-1] == [
        *("build", "-f", str(app / "Dockerfile"), "--platform", "linux/amd64"),
        *("--build-arg", "A", "--build-arg", "B", "-t", "shop:7", str(app)),
    ]


def test_values_of_arguments_are_on_no_command_line(notes: Path, app: Path) -> None:
    """They go by the environment: every user may read the command lines of all."""
    build_image(_image(args=(BuildArg("SECRET", "s3cret"),)), app, Output())
    *command, environment = notes.read_text().splitlines()
    assert not any("s3cret" in word for word in command)
    assert "SECRET=s3cret" in environment


@pytest.mark.parametrize(
    ("buildx", "own", "wanted"), [("1", None, "0"), ("0", None, ""), ("1", "1", "1")]
)
def test_the_classic_builder_is_asked_for_where_buildx_is_missing(
    notes: Path,
    app: Path,
    monkeypatch: pytest.MonkeyPatch,
    buildx: str,
    own: str | None,
    wanted: str,
) -> None:
    """Docker 23 and later fail without either; who has chosen keeps the choice."""
    monkeypatch.setenv("BUILDX", buildx)
    if own is not None:
        monkeypatch.setenv("DOCKER_BUILDKIT", own)
    build_image(_image(), app, Output())
    assert notes.read_text().endswith(f" DOCKER_BUILDKIT={wanted}\n")


def test_what_docker_says_is_shown(
    notes: Path, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line by line, while it builds; --quiet leaves it out."""
    build_image(_image(), app, Output())
    assert "Step 1/1 : FROM scratch" in capsys.readouterr().out
    build_image(_image(), app, Output(quiet=True))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failed_build_shows_why(
    notes: Path,
    app: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet: bool,
) -> None:
    """Docker's words are on the screen also with --quiet, and the exit code is told."""
    monkeypatch.setenv("CODE", "17")
    monkeypatch.setenv("SAYS", "no such base image")
    with pytest.raises(HaloyError, match=r"exit code 17\)$"):
        build_image(_image(), app, Output(quiet=quiet))
    told = capsys.readouterr()
    assert "no such base image" in told.out + told.err


def test_a_full_disk_gets_a_hint(
    notes: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is this machine's disk that is full, not the server's."""
    monkeypatch.setenv("CODE", "1")
    monkeypatch.setenv("SAYS", "write /x: No space left on device")
    with pytest.raises(HaloyError, match="this machine's disk is full"):
        build_image(_image(), app, Output())


def test_the_dockerfile_is_relative_to_the_context(app: Path) -> None:
    """And the context to the folder of the configuration."""
    (app / "web").mkdir()
    (app / "web" / "Dockerfile.prod").write_text("FROM scratch\n")
    found = build_paths(_image(context="web", dockerfile="Dockerfile.prod"), app)
    assert found == (app / "web", app / "web" / "Dockerfile.prod")


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        ({"context": "nowhere"}, "nowhere: the build context is not a directory"),
        ({"dockerfile": "Other"}, "Other: there is no Dockerfile here"),
        ({"context": "Dockerfile"}, "Dockerfile: the build context is not a directory"),
    ],
)
def test_what_is_missing_is_named_by_its_path(
    app: Path, build: dict[str, str], reason: str
) -> None:
    """The path as it was understood, not as it was written."""
    with pytest.raises(ConfigError) as refused:
        build_paths(_image(**build), app)
    assert str(refused.value) == f"{app}/{reason}"


def test_docker_is_asked_before_anything_is_built(
    notes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Absent or out of order: the images that cannot be built are named."""
    check_docker(["shop:7"])
    monkeypatch.setenv("CODE", "1")
    with pytest.raises(HaloyError, match="cannot build shop:7, web:1: it does not"):
        check_docker(["shop:7", "web:1"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HaloyError, match="docker is not installed, and shop:7 must"):
        check_docker(["shop:7"])


def test_buildx_is_used_where_it_is(
    notes: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLI 9, point 24: with caches, and the image where docker save finds it."""
    monkeypatch.setenv("BUILDX", "0")
    image = _image(cache_from=("type=gha",), cache_to=("type=gha,mode=max",))
    build_image(image, app, Output(), BuildOptions(no_cache=True, pull=True))
    told = notes.read_text().splitlines()
    assert told[:2] == ["buildx", "build"]
    assert told[6:-1] == [
        *("--no-cache", "--pull", "--cache-from", "type=gha"),
        *("--cache-to", "type=gha,mode=max", "--load", "-t", "shop:7", str(app)),
    ]
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    with pytest.raises(ConfigError, match="cache_to needs docker buildx"):
        build_image(image, app, Output())
