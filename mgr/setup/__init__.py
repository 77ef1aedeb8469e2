"""``mgrd init``, ``join``, ``issue``, ``restore``, ``module-env``: each does a task and exits."""
