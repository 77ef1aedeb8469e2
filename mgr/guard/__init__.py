"""The parent process: who leads, and is the worker well? Runs no module code."""
