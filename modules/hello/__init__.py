"""Greets people, on the command line and on a page: the module to learn from."""
