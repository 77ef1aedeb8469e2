"""Dashboard: web pages that show and operate the cluster, served by the active manager."""
