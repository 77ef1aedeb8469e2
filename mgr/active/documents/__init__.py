"""The documents that modules read with ``get()``: made, cached and published."""
