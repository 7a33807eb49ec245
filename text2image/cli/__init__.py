"""The command line `python client.py`: status and generate, on top of the client library."""
