"""Built-in commands of the manager, one file for each noun."""
