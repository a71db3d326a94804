"""Notices: lines from an engine process to the relay itself. Each is a letter and JSON; messages begin with a brace."""

READY, LOG, REFUSED = b"R", b"L", b"X"
"""The greeting was accepted; a text for standard error; the session is refused, with the reason."""
