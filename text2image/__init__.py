"""The client library: what callers need is re-exported by `client.py` at the root."""
