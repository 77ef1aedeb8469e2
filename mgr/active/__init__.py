"""What the active manager adds."""
