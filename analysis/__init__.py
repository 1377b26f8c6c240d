"""Theory of convolution operators and time steppers: symbols, spectra, stability, step sizes.

The package is the mathematical ground of PDENet. It needs NumPy and SciPy, accepts arrays of any
array-API namespace (NumPy, PyTorch) and never imports PyTorch. Import the defining module:

>>> from analysis.methods import tableau
>>> from analysis.stability import real_stability_interval, stability_function
>>> real_stability_interval(stability_function(tableau("euler")))
2.0
"""
