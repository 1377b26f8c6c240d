"""Training: configuration, loop, checkpoints and the non-expansive constraint."""
