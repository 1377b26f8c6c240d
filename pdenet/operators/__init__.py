"""Convolution operators as modules: one class a channel coupling, paddings, FFT solves."""
