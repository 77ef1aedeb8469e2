"""The descriptor language: what arguments a command takes, and whether words fit it."""
