"""Agents: the orchestrator's back end that deploys to hosts which run ``mgr-agent``."""
