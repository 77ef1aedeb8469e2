"""The interface between an orchestrator's back end and its callers: ``mgr_orchestrator``."""
