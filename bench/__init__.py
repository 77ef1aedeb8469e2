"""Benchmarks of the figures that the product promises, each with a reference in the same run."""
