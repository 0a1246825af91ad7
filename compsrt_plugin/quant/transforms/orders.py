"""Hadamard matrices: entries ±1, H Hᵀ = m I, for powers of two and for many other orders.

The constructions are those of Paley (J. Math. Phys. 12, 1933) and Williamson (Duke Math. J. 11, 1944), doubled by
Sylvester's as often as the order allows. The matrix of an order is part of the packed file format, since a file names
the transform and not the matrix. So no construction may change, and an order that has a construction keeps it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from compsrt_plugin.quant.tensor_cache import cached_tensor

# First rows of Williamson's four symmetric circulant matrices: entries 0 … (n − 1) / 2 of n; the rest is their mirror
# image. Found by search; Baumert, Golomb and Hall (1962) found the first matrix of order 92.
WILLIAMSON: dict[int, tuple[str, str, str, str]] = {
    23: ("+++++-++---+", "+-+++--++-+-", "+-+--+++++--", "+--++-+-+---"),
}


@cache
def construction(order: int) -> str | None:
    """Return the name of the construction of a Hadamard matrix of `order`, None if this module has none.

    >>> [construction(order) for order in (2, 12, 48, 60, 36, 92)]
    ['S(2)', 'P1(11)', 'S(4) × P1(11)', 'P1(59)', 'P2(17)', 'W(23)']
    >>> construction(90) is None  # no multiple of 4
    True
    """
    parts = _parts(order)
    if parts is None:
        return None
    doubled, core = parts
    return " × ".join(([f"S({doubled})"] if doubled > 1 or core is None else []) + ([] if core is None else [core]))


def orders(most: int) -> list[int]:
    """Return every order up to `most` that has a construction.

    >>> orders(28)
    [1, 2, 4, 8, 12, 16, 20, 24, 28]
    """
    return [order for order in range(1, most + 1) if construction(order) is not None]


@cached_tensor(64)
def signs(order: int) -> Tensor:
    """Return the Hadamard matrix of `order`, (order, order) of ±1 in int8; rows and columns are not normalized.

    Raises:
        ValueError: the order has no construction.
    """
    parts = _parts(order)
    if parts is None:
        raise ValueError(f"no Hadamard matrix of order {order} is available")
    doubled, core = parts
    matrix = torch.ones(1, 1, dtype=torch.int8, device="cpu") if core is None else _core(order // doubled)
    pair = torch.tensor([[1, 1], [1, -1]], dtype=torch.int8, device="cpu")
    while matrix.shape[0] < order:
        matrix = torch.kron(pair, matrix)
    return matrix


def _parts(order: int) -> tuple[int, str | None] | None:
    """Return (power of two, name of the core matrix or None), with the smallest core and so the most doublings."""
    if order < 1:
        return None
    doubled = order & -order
    if doubled == order:
        return order, None
    while doubled >= 1:
        name = _core_name(order // doubled)
        if name is not None:
            return doubled, name
        doubled //= 2
    return None


def _core_name(order: int) -> str | None:
    if order % 4:
        return None
    if (order - 1) % 4 == 3 and _prime_power(order - 1):
        return f"P1({order - 1})"
    if (order // 2 - 1) % 4 == 1 and _prime_power(order // 2 - 1):
        return f"P2({order // 2 - 1})"
    return f"W({order // 4})" if order // 4 in WILLIAMSON else None


def _core(order: int) -> Tensor:
    name = _core_name(order)
    assert name is not None, f"no construction for order {order}"
    build: Callable[[int], Tensor] = {"P1": paley_1, "P2": paley_2, "W": williamson}[name.split("(")[0]]
    return build(int(name.split("(")[1].rstrip(")")))


def paley_1(q: int) -> Tensor:
    """Return I + S of order q + 1, q ≡ 3 mod 4 a prime power, S = [[0, 1], [−1, Q]] skew."""
    matrix = torch.eye(q + 1, dtype=torch.int8, device="cpu")
    matrix[0, 1:] = 1
    matrix[1:, 0] = -1
    matrix[1:, 1:] += jacobsthal(q)
    return matrix


def paley_2(q: int) -> Tensor:
    """Return C ⊗ [[1, 1], [1, −1]] + I ⊗ [[1, −1], [−1, −1]] of order 2 (q + 1), q ≡ 1 mod 4 a prime power.

    C = [[0, 1], [1, Q]] is symmetric.
    """
    conference = torch.ones(q + 1, q + 1, dtype=torch.int8, device="cpu")
    conference[0, 0] = 0
    conference[1:, 1:] = jacobsthal(q)
    off = torch.tensor([[1, 1], [1, -1]], dtype=torch.int8, device="cpu")
    on = torch.tensor([[1, -1], [-1, -1]], dtype=torch.int8, device="cpu")
    return torch.kron(conference, off) + torch.kron(torch.eye(q + 1, dtype=torch.int8, device="cpu"), on)


def williamson(n: int) -> Tensor:
    """Return [[A, B, C, D], [−B, A, −D, C], [−C, D, A, −B], [−D, −C, B, A]] of order 4 n.

    A, B, C, D are symmetric circulants with A² + B² + C² + D² = 4 n I.
    """
    index = (torch.arange(n, device="cpu")[:, None] - torch.arange(n, device="cpu")) % n
    a, b, c, d = (_mirrored(half, n)[index] for half in WILLIAMSON[n])
    rows = [[a, b, c, d], [-b, a, -d, c], [-c, d, a, -b], [-d, -c, b, a]]
    return torch.cat([torch.cat(row, 1) for row in rows], 0)


def _mirrored(half: str, n: int) -> Tensor:
    values = [1 if sign == "+" else -1 for sign in half]
    return torch.tensor(values + values[:0:-1], dtype=torch.int8, device="cpu").reshape(n)


def jacobsthal(q: int) -> Tensor:
    """Return Q of order q, a prime power: Q_ij = χ(a_i − a_j), 1 for squares of GF(q), −1 for others, 0 for 0."""
    p, degree = _prime_power(q) or (0, 0)
    places = p ** torch.arange(degree, device="cpu")
    elements = torch.arange(q, device="cpu")[:, None] // places % p  # digits in base p are coefficients of polynomials
    differences = (elements[:, None] - elements) % p
    return _squares(p, degree)[(differences * places).sum(-1)]


def _squares(p: int, degree: int) -> Tensor:
    """Return χ of the elements of GF(p^degree), (q,) int8, an element's number being its digits in base p.

    The powers of a primitive element alternate between squares and non-squares. The element is x in GF(p)[x] modulo a
    polynomial x^degree − (t_0 + t_1 x + …), with the first t for which its powers reach all elements but 0.
    """
    q = p**degree
    for tail in itertools.product(range(p), repeat=degree):
        found = [0] * q  # not a tensor: under a `FakeTensorMode` it would have no values
        element, sign, met = (1,) + (0,) * (degree - 1), 1, 0
        while any(element) and not found[_number(element, p)]:
            found[_number(element, p)] = sign
            last, shifted = element[-1], (0, *element[:-1])
            element = tuple((digit + last * t) % p for digit, t in zip(shifted, tail))
            sign, met = -sign, met + 1
        if met == q - 1:
            return torch.tensor(found, dtype=torch.int8, device="cpu")
    raise AssertionError(f"GF({q}) has a primitive element")


def _number(element: tuple[int, ...], p: int) -> int:
    return sum(digit * p**place for place, digit in enumerate(element))


def _prime_power(q: int) -> tuple[int, int] | None:
    """Return (p, k) with q = p^k, p an odd prime; None if there is none.

    >>> _prime_power(27), _prime_power(15), _prime_power(16)
    ((3, 3), None, None)
    """
    if q < 3 or q % 2 == 0:
        return None
    p = next(factor for factor in itertools.count(3, 2) if q % factor == 0 or factor * factor > q)
    p = p if q % p == 0 else q
    degree = 0
    while q % p == 0:
        q, degree = q // p, degree + 1
    return (p, degree) if q == 1 else None
