"""What stands in for Ceph: its bindings, maps and constants, as far as modules use them."""
