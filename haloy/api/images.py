"""The routes by which images come to the server (C{spec/api.md} 4.5 to 4.10)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from haloy.api.answers import error_answer, json_answer, respond, set_status
from haloy.api.bodies import (
    AssembleBody,
    DigestsBody,
    PruneBody,
    SpaceBody,
    read_body,
)
from haloy.api.body import read_json
from haloy.api.gatekeeper import Gatekeeper
from haloy.api.multipart import archive_offset
from haloy.api.spool import Spool, Spools
from haloy.deploy.assembly import check_digest, check_reference, make_assembly
from haloy.deploy.pruning import Pruning
from haloy.deploy.uploads import ImageUploads
from haloy.errors import InvalidValue


@define(eq=False)
class ImageRoutes:
    """Mounted by the API.

    A token for some apps only may send layers, which are named by what they are, and
    give names C{<app>:*} alone.
    """

    app = Klein()

    _uploads: ImageUploads
    _pruning: Pruning
    _spools: Spools
    _gatekeeper: Gatekeeper

    # --- the gate for large bodies ------------------------------------------------

    def open(self, request: Any, length: int | None) -> Spool | None:
        """Return where a large body goes; nobody we do not know may fill the disk."""
        return self._spools.open(length) if self._gatekeeper.known(request) else None

    # --- layers --------------------------------------------------------------------

    @app.route("/layers/check", methods=["POST"])
    async def check(self, request: IRequest) -> bytes:
        """Say which layers are here."""
        self._gatekeeper.admit_some(request, "deploy", layers=True)
        asked = list(read_body(read_json(request), DigestsBody).digests)
        present = await self._uploads.present(asked)
        found = list(zip(asked, present, strict=True))
        return json_answer(
            request,
            {
                "missing": [one for one, here in found if not here] or None,
                "exists": [one for one, here in found if here] or None,
            },
        )

    @app.route("/layers", methods=["POST"])
    async def layer(self, request: Any) -> bytes:
        """Take one layer."""
        self._gatekeeper.admit_some(request, "deploy", layers=True)
        digest = check_digest(request.getHeader("X-Layer-Digest"), "X-Layer-Digest")
        spool = _spool(request, "application/octet-stream")
        found = spool.finish()
        await self._uploads.keep(digest, spool.size, spool.digest, found)
        set_status(request, 201)
        return json_answer(request, {"digest": digest, "size": spool.size})

    @app.route("/layers/assemble", methods=["POST"])
    async def assemble(self, request: IRequest) -> bytes:
        """Put an image together from layers that are here."""
        caller = self._gatekeeper.admit_some(request, "deploy", layers=True)
        body = read_body(read_json(request), AssembleBody)
        ref = check_reference(body.ref)
        caller.require("deploy", ref.rpartition(":")[0])
        manifest = {
            "Config": body.manifest.config,
            "Layers": list(body.manifest.layers),
        }
        assembly = make_assembly(ref, _base64(body.config), manifest)
        async with self._gatekeeper.audited(caller, "image.assemble", ref):
            await self._uploads.assemble(assembly)
        return json_answer(
            request, {"success": True, "message": f"Image {ref} is on the server"}
        )

    # --- whole archives --------------------------------------------------------------

    @app.route("/upload", methods=["POST"])
    async def upload(self, request: Any) -> bytes:
        """Take a whole C{docker save} archive."""
        caller = self._gatekeeper.admit(request, "deploy")
        spool = _spool(request, "multipart/form-data")
        path = spool.finish()
        offset = archive_offset(path, request.getHeader("Content-Type") or "")
        async with self._gatekeeper.audited(caller, "image.upload", ""):
            names = await self._uploads.load(path, offset)
        respond(request, 202)
        return json_answer(
            request, {"success": True, "message": f"Loaded {', '.join(names)}"}
        )

    # --- space -----------------------------------------------------------------------

    @app.route("/disk-space-check", methods=["POST"])
    async def disk_space(self, request: IRequest) -> bytes:
        """Say whether an upload would find room."""
        self._gatekeeper.admit_some(request, "deploy")
        body = read_body(read_json(request), SpaceBody)
        whole, layers, assembled = body.whole, body.layers, body.assembled
        if (whole > 0) == (assembled > 0):
            raise InvalidValue(
                "exactly one of uploadSizeBytes or assembledImageSizeBytes is required",
                field="body",
            )
        if layers and not assembled:
            raise InvalidValue(
                "needs assembledImageSizeBytes", field="layerUploadBytes"
            )
        room = await self._uploads.room(layers, whole or assembled)
        return json_answer(
            request,
            {
                "ok": room.ok,
                "path": room.path,
                "requiredBytes": room.required,
                "availableBytes": max(room.available, 0),
            },
        )

    @app.route("/prune", methods=["POST"])
    async def prune(self, request: IRequest) -> bytes:
        """Remove old images of one app, or say which they would be."""
        caller = self._gatekeeper.admit_some(request, "deploy")
        body = read_body(read_json(request), PruneBody)
        app, keep, apply = body.app, body.keep, body.apply
        caller.require("deploy", app)
        async with self._gatekeeper.audited(caller, "image.prune", app):
            found = await self._pruning.prune(app, keep, apply)
        answer: dict[str, Any] = {"appName": app, "keep": keep, "applied": apply}
        if found.running:
            answer["runningDeploymentIds"] = list(found.running)
        answer["tags"] = [
            {"tag": ref, "deploymentId": ref.rpartition(":")[2]} for ref in found.tags
        ]
        return json_answer(request, answer)

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue("is not base64", field="config") from None


def _spool(request: Any, kind: str) -> Spool:
    spool: Spool | None = getattr(request, "spool", None)
    if spool is None:
        raise InvalidValue(f"the body must come as {kind}", field="Content-Type")
    return spool
