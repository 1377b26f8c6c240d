"""The tables of the registry, one module for each kind of method (read by analysis.methods)."""
