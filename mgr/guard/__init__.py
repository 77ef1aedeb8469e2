"""The guard, parent process of a manager: takes part in the election, supervises the worker.

It runs no module code.
"""
