"""What the fleet counts and how the cluster is, for Prometheus to scrape."""
