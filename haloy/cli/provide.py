"""Brings the images of a plan to where they will run: built, pushed, sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haloy.cli.build import BuildOptions, build_image, check_docker
from haloy.cli.context import Project
from haloy.cli.output import Output
from haloy.cli.plan import Planned
from haloy.cli.push import push_image
from haloy.cli.upload import Destination, upload
from haloy.config.app_file import ImageConfig
from haloy.config.client_file import is_local
from haloy.config.images import effective_push, should_build


async def provide_images(
    reactor: Any,
    project: Project,
    plan: list[Planned],
    servers: Mapping[str, Destination],
    output: Output,
    options: BuildOptions,
) -> None:
    """Build every image once, push it once, send it once to each server.

    A server that an image cannot be sent to is the problem of the targets there;
    the others go on.

    @raise HaloyError: an image cannot be built or pushed.
    """
    built: dict[str, list[tuple[Planned, ImageConfig]]] = {}
    for one in plan:
        image = one.resolved.image
        if image is not None and should_build(image):
            built.setdefault(one.ref, []).append((one, image))
    if not built:
        return
    check_docker(list(built))
    if not options.skip:
        for users in built.values():
            build_image(users[0][1], project.folder, output, options)
    for ref, users in built.items():
        pushed = [image for _, image in users if effective_push(image) == "registry"]
        if pushed:
            push_image(pushed[0], output)
        away = [
            one
            for one, image in users
            if effective_push(image) == "server" and not is_local(one.selected.server)
        ]
        if away:
            names = dict.fromkeys(one.selected.server for one in away)
            to = [servers[name] for name in names]
            problems = await upload(reactor, ref, to, output)
            for one in away:
                one.problem = one.problem or problems.get(one.selected.server)
