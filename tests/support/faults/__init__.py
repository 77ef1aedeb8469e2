"""The fault laboratory: what breaks a cluster on purpose, and what watches it break."""
