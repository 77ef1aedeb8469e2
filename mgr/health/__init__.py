"""Health checks, mutes and the overall state."""
