"""Runs modules in processes of their own, forked from a prepared single-threaded parent."""
