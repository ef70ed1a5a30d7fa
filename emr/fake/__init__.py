"""A provider that is not one: for trying a set-up offline, for tests, demo and bench."""
