"""Options: what may be set, which value holds."""
