"""Shows the cluster's managers and modules as tables."""
