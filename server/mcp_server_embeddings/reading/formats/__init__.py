"""One module for each format, with a function ``(content, parsing) -> documents``."""
