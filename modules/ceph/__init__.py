"""Ceph: connects to a Ceph cluster, keeps its maps current for modules, and runs their commands."""
