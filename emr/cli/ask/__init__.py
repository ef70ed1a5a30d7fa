"""Whom a command asks, and how: a running emr over its API, or the store itself."""
