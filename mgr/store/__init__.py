"""What etcd is trusted with, and everything that speaks to it."""
