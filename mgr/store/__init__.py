"""The store over etcd, and the guarantees that are assumed of etcd."""
