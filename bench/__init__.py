"""The numbers the product promises, each measured beside its reference in the same run."""
