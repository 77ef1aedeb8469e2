"""One module in its threads, whichever part this manager plays."""
