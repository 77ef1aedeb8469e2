"""A distributed manager: one active of several, elected through etcd, running modules."""
