"""The author's kit: ``mgrctl module new``, ``dev``, ``check`` and ``package``, with no cluster."""
