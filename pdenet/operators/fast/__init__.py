"""Ways to compute an operator that are fast: rules, pieces, transforms of the channels."""
