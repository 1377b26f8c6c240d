"""Roots of rho - h sigma on the unit circle, for many eigenvalues at once.

>>> root_radius(np.array([[-2.0, 1.0], [-0.5, 1.0]]))
array([2. , 0.5])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.half_line import Exit

Complex = NDArray[np.complex128]

OFF_CIRCLE = 1e-9
"""Excess of a root over one that counts: between crossings roots are off the circle by far more, or
stay on it."""
_SIMPLE, _APART = 1e-12, 1e-3  # of a root that is apart from the others
_CANCELS = 1e-12  # share of sigma(1) up to which a pair of eigenvalues counts as cancelling
_BEHIND = (0.5, 3.0, 30.0)  # where the last interval is looked at, in units of the eigenvalue
_CHUNK = 4096


def root_radius(coefficients: NDArray[Any]) -> NDArray[np.float64]:
    """Largest modulus of the roots of polynomials, ascending powers, shape (..., k + 1).

    >>> root_radius(np.array([[-2.0, 1.0], [-0.5, 1.0]]))
    array([2. , 0.5])
    """
    roots, finite = _roots(coefficients)
    radius = np.abs(roots).max(axis=-1, initial=0.0)
    return np.asarray(np.where(finite, radius, np.inf))


def outside_disc(coefficients: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a root lies outside the unit circle, beyond what rounding leaves uncertain.

    A root apart from the others is known to many digits, a cluster only to the root of them.
    """
    roots, finite = _roots(coefficients)
    if not roots.shape[-1]:
        return np.zeros(roots.shape[:-1], dtype=bool)
    moduli = np.abs(roots)
    largest = np.argmax(moduli, axis=-1)[..., None]
    top = np.take_along_axis(roots, largest, axis=-1)
    gaps = np.abs(roots - top)
    np.put_along_axis(gaps, largest, np.inf, axis=-1)
    allowed = np.where(gaps.min(axis=-1) > _APART, _SIMPLE, OFF_CIRCLE)
    return np.asarray(~finite | (moduli.max(axis=-1) > 1 + allowed))


def _roots(coefficients: NDArray[Any]) -> tuple[Complex, NDArray[np.bool_]]:
    """Roots of polynomials, (..., k), and whether the leading coefficient lets there be k."""
    lead = coefficients[..., -1:]
    k = coefficients.shape[-1] - 1
    with np.errstate(all="ignore"):
        monic = coefficients[..., :-1] / lead
    finite = np.isfinite(monic).all(axis=-1)
    companion = np.zeros((*monic.shape[:-1], k, k), dtype=complex)
    companion[..., np.arange(1, k), np.arange(k - 1)] = 1
    if k:
        companion[..., :, -1] = -np.where(finite[..., None], monic, 0)
    return np.asarray(np.linalg.eigvals(companion), dtype=complex), np.asarray(finite)


def locus_exit(
    alpha: NDArray[Any], sigma: NDArray[Any], limit: float, *, fixed_root: bool = True
) -> Exit:
    """The smallest h <= limit at which rho - h sigma_i violates the root condition, and its i.

    Args:
        alpha: coefficients of rho, shape (k + 1,).
        sigma: one row of coefficients an eigenvalue (or a pair of them), its own factor lambda
            included, complex, shape (n, k + 1).
        limit: steps beyond it are not looked at; may be infinite.
        fixed_root: whether rho(1) = 0.
    """
    best = Exit(limit, -1)
    size = np.abs(sigma).sum(axis=1)
    cancels = fixed_root & (np.abs(sigma.sum(axis=1)) <= _CANCELS * size) & (size > 0)
    if cancels.any():
        # One is a root of both rho and sigma, whatever the step: the others decide.
        rows = np.flatnonzero(cancels)
        rest = [np.cumsum(p[..., ::-1], axis=-1)[..., -2::-1] for p in (alpha, sigma[rows])]
        found = locus_exit(rest[0], rest[1], limit, fixed_root=False)
        best = found._replace(which=int(rows[found.which])) if found.which >= 0 else best
    order = np.argsort(-size, kind="stable")
    order = order[(size > 0)[order] & ~cancels[order]]
    for start in range(0, len(order) if len(alpha) > 1 else 0, _CHUNK):
        best = _chunk_exit(alpha, sigma, order[start : start + _CHUNK], best, fixed_root)
    return best


def _chunk_exit(
    alpha: NDArray[Any],
    sigma: NDArray[Any],
    rows: NDArray[np.int64],
    best: Exit,
    fixed_root: bool,
) -> Exit:
    crossings = _crossings(alpha, sigma[rows], fixed_root)
    scale = 1 / np.abs(sigma[rows]).max(axis=1)
    low = np.zeros(len(rows))
    one = sigma[rows].sum(axis=1)
    # Growth of modes next to the axis can be slow: they are looked at far out as well.
    slow = np.abs(one.real) <= 0.1 * np.abs(one)
    for high in [*crossings.T, np.full(len(rows), np.inf)]:
        alive = np.flatnonzero(low < best.step)
        ends, starts = high[alive], low[alive]
        last = ~np.isfinite(ends)
        for share in _BEHIND:
            width = np.where(last, 2 * share * np.maximum(starts, scale[alive]), ends - starts)
            middle = starts + width / 2
            real = width > 1e-10 * middle
            # Between two crossings one point decides, and the middle is far from both.
            real &= (last & slow[alive]) | (share == _BEHIND[0])
            left = alive[real][outside_disc(alpha - middle[real, None] * sigma[rows[alive[real]]])]
            if len(left):
                k = left[int(np.argmin(low[left]))]
                if low[k] < best.step:
                    best = Exit(float(low[k]), int(rows[k]))
        low = np.where(np.isfinite(high), high, np.inf)
    return best


def _crossings(alpha: NDArray[Any], sigma: NDArray[Any], fixed_root: bool) -> NDArray[np.float64]:
    """Steps h > 0 at which a root of rho - h sigma_i is on the circle, ascending, (n, 2 k - 1)."""
    n, size = sigma.shape
    # sigma conj(rho) on the circle is a Laurent polynomial; its imaginary part has coefficients
    # f_m, f_-m = conj(f_m), and 1/h is its real part over |rho|^2 where the imaginary one is zero.
    laurent = np.zeros((n, 2 * size - 1), dtype=complex)
    for j in range(size):
        laurent[:, j : j + size] += sigma[:, j : j + 1] * np.conj(alpha[::-1])
    imaginary = (laurent - np.conj(laurent[:, ::-1])) / 2j
    real = np.abs(imaginary).max(axis=1) <= 1e-14 * np.abs(laurent).max(axis=1)
    if real.any():
        turns = [_turning_steps(alpha, row) for row in sigma[real]]
        steps = np.full((n, max(2 * size, *map(len, turns))), np.inf)
        for row, found in zip(np.flatnonzero(real), turns, strict=True):
            steps[row, : len(found)] = found
        rest = np.flatnonzero(~real)
        if rest.size:
            others = _crossings(alpha, sigma[rest], fixed_root)
            steps[rest, : others.shape[1]] = others
        return np.sort(steps, axis=1)
    used = np.flatnonzero(np.abs(imaginary).max(axis=0) > 0)
    inner = imaginary[:, used[0] : used[-1] + 1]
    if fixed_root:
        # The factor (zeta - 1) is divided out: it would blur the small steps.
        inner = np.cumsum(inner[:, ::-1], axis=1)[:, -2::-1]
    angles = np.angle(_batched_roots(inner))
    zeta = np.exp(1j * angles)
    powers = zeta[..., None] ** np.arange(size)
    rho = powers @ alpha
    value = np.einsum("nrk,nk->nr", powers, sigma)
    with np.errstate(all="ignore"):
        step = (rho * np.conj(value)).real / np.abs(value) ** 2
        off = np.abs((rho * np.conj(value)).imag) > 1e-5 * np.abs(rho * value)
    step[off | ~(step > 0) | ~np.isfinite(step)] = np.inf
    return np.sort(step, axis=1)


def _turning_steps(alpha: NDArray[Any], sigma: NDArray[Any]) -> list[float]:
    """Steps at which roots that travel on the circle meet: where a real locus turns.

    Extrema of h(theta) = rho / sigma at 2,001 points, each refined to about 1e-12 of itself.
    """
    powers = np.arange(len(alpha))

    def step(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        zeta = np.exp(1j * np.multiply.outer(theta, powers))
        with np.errstate(all="ignore"):
            value = ((zeta @ alpha) / (zeta @ sigma)).real
        return np.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)

    theta = np.linspace(-np.pi, np.pi, 2001)
    value, found = step(theta), []
    peaks = np.flatnonzero((value[1:-1] - value[:-2]) * (value[2:] - value[1:-1]) <= 0) + 1
    for k in peaks:
        around, width = theta[k], theta[1] - theta[0]
        sign = 1.0 if value[k] >= value[k - 1] else -1.0
        for _ in range(3):
            near = around + width * np.linspace(-1, 1, 201)
            around, width = near[int(np.argmax(sign * step(near)))], width / 100
        top = float(step(np.array([around]))[0])
        if top > 0:
            found.append(top)
    return sorted(found)


def _batched_roots(p: Complex) -> Complex:
    """Roots of polynomials of equal degree, shape (n, degree); rows without a degree give ones."""
    degree = p.shape[1] - 1
    if degree < 1:
        return np.ones((len(p), 0), dtype=complex)
    lead = p[:, -1:]
    good = np.abs(lead[:, 0]) > 1e-13 * np.abs(p).max(axis=1)
    companion = np.zeros((len(p), degree, degree), dtype=complex)
    companion[:, np.arange(1, degree), np.arange(degree - 1)] = 1
    companion[:, :, -1] = -p[:, :-1] / np.where(good[:, None], lead, 1)
    roots = np.linalg.eigvals(companion)
    for row in np.flatnonzero(~good):
        short = np.roots(np.trim_zeros(p[row][::-1], "f"))
        roots[row] = 1
        roots[row, : len(short)] = short[:degree]
    return np.asarray(roots)
