"""Commands: which there are, who answers, how one runs, and the manager's own."""
