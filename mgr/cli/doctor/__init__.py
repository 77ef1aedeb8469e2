"""``mgrctl doctor``: looks for what is wrong with a cluster, or soon will be."""
