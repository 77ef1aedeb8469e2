"""The manager's own HTTP port: probes, metrics, redirects."""
