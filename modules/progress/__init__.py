"""Progress: shows long operations, their progress, and those completed recently."""
