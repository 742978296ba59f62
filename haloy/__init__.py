"""Haloy: put containers on your own servers, without losing a request."""
