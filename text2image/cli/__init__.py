"""The command line interface `python client.py`, with the commands status and generate."""
