"""Implicit diffusion and its flow: transforms, factors, conjugate gradients, Newton."""
