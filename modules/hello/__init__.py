"""Tutorial module: greets people on the command line and on a page."""
