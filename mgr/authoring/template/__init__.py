"""Example: keeps a list of names, warns if it grows too long, and shows it on a page."""
