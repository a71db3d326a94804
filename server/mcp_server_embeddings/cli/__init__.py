"""The command line: options, environment, and one module a command."""
