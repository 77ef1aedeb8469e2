"""The rows, by what is broken. tests/matrix/table.py collects them."""
