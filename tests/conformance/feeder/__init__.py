"""A module that tells others what daemons of Ceph would; for the tests."""
