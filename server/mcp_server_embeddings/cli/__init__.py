"""The command line: options, environment variables, and one module per command."""
