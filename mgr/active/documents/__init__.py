"""The documents that modules read with ``get()``: how they are made, cached and published."""
