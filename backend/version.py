"""The service's version, as in pyproject.toml (a test compares them)."""

VERSION = "0.1.0"
