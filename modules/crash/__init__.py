"""Crash: reports of what broke, kept, listed and told of in health."""
