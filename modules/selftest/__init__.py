"""Exercises the module interface from inside, and breaks things on purpose. For tests only."""
