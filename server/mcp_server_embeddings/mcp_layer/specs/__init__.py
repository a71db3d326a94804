"""One module a tool: its arguments, its words, and its entry in ``tools/list``."""
