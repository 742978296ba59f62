"""Says whether a replica is fit to serve."""
