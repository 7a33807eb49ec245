"""Alternatives to this service, each set up as in its documentation."""
