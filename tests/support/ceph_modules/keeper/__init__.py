"""A module of the tests that keeps things in RADOS and CephFS."""
