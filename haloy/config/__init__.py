"""The files people write: C{haloy.yaml}, C{client.yaml}, C{haloyd.yaml}, C{.env}."""
