"""The C{haloy} command."""
