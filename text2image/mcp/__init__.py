"""The service as tools for agents, by the Model Context Protocol.

`python -m text2image.mcp` serves them on stdin and stdout; the backend's HTTP port at /mcp.
"""
