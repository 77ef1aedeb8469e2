"""Bundled modules. Each sees mgr_module, object_format and mgr_util only."""
