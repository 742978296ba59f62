"""One request, front to back. Knows nothing of Docker, deployments or the API."""
