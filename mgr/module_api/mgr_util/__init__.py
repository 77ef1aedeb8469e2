"""The helpers that Ceph's modules import from ``mgr_util``."""
