"""Inkling, the studio: a Streamlit app that talks to the backend through `client.py`."""
