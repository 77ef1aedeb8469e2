"""Orchestrator: the commands ``orch ...``, answered by the back end that is set."""
