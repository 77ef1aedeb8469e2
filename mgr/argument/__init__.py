"""Command descriptors: which arguments a command takes, and matching of words against them."""
