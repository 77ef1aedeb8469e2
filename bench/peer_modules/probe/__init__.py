"""The module with which ceph-mgr is measured: see bench/peer.py."""

from .module import Module

__all__ = ["Module"]
