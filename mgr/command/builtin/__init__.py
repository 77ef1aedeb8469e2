"""The manager's own commands, one noun a file."""
