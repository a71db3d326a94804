"""What stores in SQL databases have in common: the same tables, read by the same queries."""
