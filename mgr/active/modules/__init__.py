"""Modules on the active: their context, their calls to each other, their failures."""
