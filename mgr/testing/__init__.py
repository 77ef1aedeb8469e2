"""For authors of modules: run one module in this process, with no cluster. docs/modules.md."""
