"""What the daemon says of itself. Pure."""

from __future__ import annotations

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
