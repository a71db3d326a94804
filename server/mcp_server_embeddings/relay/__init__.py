"""The relay: the process that an MCP client starts, which forwards messages to the user's shared engine process.

This package imports only the standard library, so that a session costs next to nothing until it is used.
"""
