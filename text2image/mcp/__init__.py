"""Tools for agents by the Model Context Protocol (MCP).

Available on stdio with `python -m text2image.mcp`, and at /mcp of the backend's HTTP port.
"""
