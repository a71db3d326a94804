"""The only code that knows MCP: transport, registration, schemas, and the words of answers and errors."""
