"""mgr-demo: an etcd and three managers on one machine, for a first try."""
