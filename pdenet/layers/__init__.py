"""Layers of the networks: normalisations, right-hand sides, time steps and connectors."""
