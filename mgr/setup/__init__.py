"""``mgrd init``, ``mgrd join``, ``mgrd issue``: they make the certificates of a cluster and end."""
