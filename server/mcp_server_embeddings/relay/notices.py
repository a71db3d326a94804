"""Lines of an engine process that are not for the client: a letter and JSON, where a message begins with a brace."""

READY, LOG, REFUSED = b"R", b"L", b"X"
"""The greeting was accepted; a text for standard error; the session cannot be served, with the reason."""
