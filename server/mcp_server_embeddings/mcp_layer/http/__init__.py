"""Streamable HTTP for many clients at once; imported only to serve HTTP."""
