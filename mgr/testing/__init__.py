"""For authors of modules: run one module in this process, with no cluster.

See docs/how-to/test-a-module.md.
"""
