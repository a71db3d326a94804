"""One module a format, each ``(content, parsing) -> documents``."""
