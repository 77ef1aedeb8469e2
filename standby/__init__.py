"""What a waiting manager does."""
