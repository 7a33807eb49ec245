"""The client library. `client.py` at the repository's root re-exports its public names."""
