"""Replacements for Ceph's bindings, maps and constants, as far as modules use them."""
