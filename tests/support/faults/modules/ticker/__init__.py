"""A module that acts outside all the time and asks nobody whether it may."""
