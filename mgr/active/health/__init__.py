"""Health of the cluster on the active: checks, mutes and what is stored of them."""
