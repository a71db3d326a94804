"""All code that depends on MCP: transports, registration, schemas, and the encoding of answers and errors."""
