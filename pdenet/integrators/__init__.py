"""Time steppers in torch, with the coefficients of ``analysis.methods``."""
