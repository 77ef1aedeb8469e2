"""Runs what the managers' orchestrator deploys to this host, if the host's owner allows it."""
