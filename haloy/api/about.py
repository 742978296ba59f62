"""What the daemon says of itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from haloy.proxy.interface import Program

CAPABILITIES = (
    "layer-upload",
    "image-disk-preflight",
    "blue-green",
    "resources",
    "proxy-options",
    "wildcard-domains",
    "h2c",
    "exec-interactive",
    "tokens",
    "events",
)


def version_answer(
    own: Program, serving: Sequence[Program], trouble: str, generation: int
) -> dict[str, Any]:
    """Return what C{GET /v1/version} tells.

    C{own}: what haloyd runs. C{serving}: what its proxy runs, none where nobody is
    there to say, with C{trouble} for the reason; its keys are left out then, which
    clients of the Go daemon take for "unavailable".
    """
    answer: dict[str, Any] = {"haloyd": own.release, "haloyd_form": own.form}
    if serving:
        newest = serving[0]
        answer |= {
            "haloy_proxy": newest.release or own.release,
            "haloy_proxy_form": newest.form,
            "haloy_proxy_generation": 1,
            "haloy_proxy_schema_version": 1,
            "haloy_proxy_compatible": True,
            "haloy_proxy_config_hash": str(generation),
            "haloy_proxy_workers": [
                {
                    "version": one.release or own.release,
                    "form": one.form,
                    "count": one.workers,
                    "draining": one.draining,
                }
                for one in serving
            ],
        }
    else:
        answer["haloy_proxy_trouble"] = trouble
    return answer | {
        "haloy_proxy_required_generation": 1,
        "haloy_proxy_required_schema_version": 1,
        "capabilities": list(CAPABILITIES),
    }
