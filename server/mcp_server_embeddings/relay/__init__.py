"""What an MCP client starts: it passes messages to the engine process that all of a user's sessions share.

Only the standard library is imported here, so that a session costs next to nothing until it is used.
"""
