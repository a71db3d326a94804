"""Streamable HTTP for many clients at once; imported only where HTTP is served."""
