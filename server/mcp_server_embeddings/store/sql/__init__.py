"""Code shared by the stores in SQL databases: the same tables, read by the same queries."""
