"""The written map from key to samples (``dp-core/docs/sampler.md``) in plain Python, exact and slow.

Integers, fractions, mpmath's exponential, and AES from ``cryptography``: nothing of the shipped sampler is in here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from math import ceil, floor, isqrt

import mpmath
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Bits after the point of every value of a shape; values are right to within 2**10 units and are refused where that
# leaves a comparison open.
P = 256
ONE = 1 << P
SLACK = 1 << 40


def floor_log2(x: Fraction) -> int:
    n = x.numerator.bit_length() - x.denominator.bit_length()
    return n if Fraction(2) ** n <= x else n - 1


def exp_neg(x: Fraction) -> int:
    if x > 400:
        return 0
    with mpmath.workprec(P + 40):
        return int(mpmath.floor(mpmath.exp(-mpmath.mpf(x.numerator) / x.denominator) * ONE))


def bessel(v: Fraction) -> Callable[[Fraction], int]:
    """I_k(v) / I_0(v): Miller's recurrence, or Hankel's expansion (DLMF 10.40.1) where it would be long."""
    if v < 2**26:
        above, here = 0, 1 << 600
        values = [here]
        for k in range(600 + 2 * isqrt(300 * (ceil(v) + 1)), 0, -1):
            above, here = here, above + here * 2 * k * v.denominator // v.numerator
            values.append(here)
        values.reverse()
        return lambda t: (values[int(t)] << P) // values[0] if t < len(values) else 0

    def hankel(k: int) -> int:
        term = total = ONE << 64
        for m in count(1):
            term = -term * (4 * k * k - (2 * m - 1) ** 2) * v.denominator // (8 * m * v.numerator)
            if term in (0, -1):
                return total
            total += term
        raise AssertionError

    at_zero = hankel(0)
    return lambda t: (hankel(int(t)) << P) // at_zero


class Words:
    """Words by address."""

    def __init__(self, key: bytes) -> None:
        self._release = self._cipher(key)
        self._chunk: tuple[int, Callable[[int, int], bytes]] = (-1, self._release)

    @staticmethod
    def _cipher(key: bytes) -> Callable[[int, int], bytes]:
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return lambda a, b: encryptor.update(a.to_bytes(8, "big") + b.to_bytes(8, "big"))

    def _block(self, i: int, a: int, b: int) -> tuple[int, int]:
        c = i >> 14
        if self._chunk[0] != c:
            self._chunk = (c, self._cipher(self._release(0, 2 * c) + self._release(0, 2 * c + 1)))
        block = self._chunk[1](a, b)
        return int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little")

    def primary(self, i: int, word: int) -> int:
        return self._block(i, 0, word // 2)[word % 2]

    def extra(self, i: int, attempt: int, m: int) -> tuple[int, int]:
        return self._block(i, (i & 0x3FFF) + 1, attempt << 32 | m)


class Level:
    """A level of a cover: its first column, R, and the first slot of each column and of the tail."""

    def __init__(self, first: int, rows: int, starts: list[int]) -> None:
        self.first, self.rows, self.starts = first, rows, starts


class Law:
    """A law by its name and scale, and its samples by key and number."""

    def __init__(self, name: str, scale: Fraction) -> None:
        self.is_real = name in ("Laplace", "Gaussian")
        self.grid = floor_log2(scale) - 30 if self.is_real else 0
        s = scale / Fraction(2) ** self.grid
        if name.endswith("Laplace"):
            self._f: Callable[[Fraction], int] = lambda t: exp_neg(t / s)
            self._tau: Callable[[Fraction], Fraction] = lambda t: 1 + s
        elif name.endswith("Gaussian"):
            self._f = lambda t: exp_neg(t * t / (2 * s * s))
            self._tau = lambda t: 1 + s * s / t
        else:
            self._f = bessel(s)
            self._tau = lambda t: 2 + s / t
        spread = floor_log2(s) // 2 if name == "Skellam" else floor_log2(s)
        self.is_narrow = spread < 7 and not self.is_real
        self.slot_bits = 15 if self.is_narrow else 14
        self.column_bits = 25 if self.is_real else 0 if self.is_narrow else spread - 5
        self.fraction_bits = 14 if self.is_real else 0
        self._edges: dict[int, int] = {}
        self._levels = [self._top()]

    # ---- tables

    def _edge(self, column: int) -> int:
        if column not in self._edges:
            self._edges[column] = self._f(Fraction(column << self.column_bits))
        return self._edges[column]

    def _ends(self, column: int, rows: int) -> bool:
        t = Fraction(column << self.column_bits)
        factor = 2 * rows * (2**self.column_bits + self._tau(t)) / 2**self.column_bits
        low, high = (self._edge(column) - 1024) * factor, (self._edge(column) + 1024) * factor
        assert high <= ONE or low > ONE, "undecided"
        return bool(high <= ONE)

    def _starts(self, first: int, rows: int) -> list[int]:
        starts = [0]
        for column in count(first):
            if column > first and self._ends(column, rows):
                return starts
            if column == 0:
                needed = -(-rows // 2) if self.is_narrow else rows
            else:
                low, high = ((self._edge(column) + d) * rows for d in (-1024, 1024))
                needed = max(1, -(-low // ONE))
                assert needed == max(1, -(-high // ONE)), "undecided"
            starts.append(starts[-1] + needed)
        raise AssertionError

    def _top(self) -> Level:
        good, bad = 1, 2 << self.slot_bits
        while bad - good > 1:
            rows = (good + bad) // 2
            good, bad = (rows, bad) if self._starts(0, rows)[-1] < 1 << self.slot_bits else (good, rows)
        return Level(0, good, self._starts(0, good))

    def _level(self, depth: int) -> Level:
        while len(self._levels) <= depth:
            above = self._levels[-1]
            first, rows = above.first + len(above.starts) - 1, above.rows << self.slot_bits
            self._levels.append(Level(first, rows, self._starts(first, rows)))
        return self._levels[depth]

    # ---- samples

    def _point(self, words: Words, i: int) -> tuple[bool, int, int, int]:
        """The accepted point of sample i: sign, cell, fraction, attempt."""
        n = i & 0x3FFF
        word = words.primary(i, n // 4) >> 16 * (n % 4) & 0xFFFF if self.is_narrow else words.primary(i, n)
        depth = 0
        for attempt in count():
            if attempt > 0:
                word = words.extra(i, attempt, 0)[0] >> (48 if self.is_narrow else 0)
            left = 16 if self.is_narrow else 64
            fields = []
            for bits in (self.slot_bits, 1, self.column_bits, self.fraction_bits):
                left -= bits
                fields.append(word >> left & (1 << bits) - 1)
            slot, sign, offset, fraction = fields
            height = word & (1 << left) - 1
            level = self._level(depth)
            if slot >= level.starts[-1]:
                depth = depth + 1 if slot == level.starts[-1] else 0
                continue
            column = bisect_right(level.starts, slot) - 1
            row = slot - level.starts[column]
            cell = ((level.first + column) << self.column_bits) + offset
            twice = not self.is_narrow and not self.is_real and cell == 0 and sign == 1
            depth = 0
            if not twice and self._is_under(words, i, attempt, row, height, left, cell, fraction, level, column):
                return sign == 1, cell, fraction, attempt
        raise AssertionError

    def _is_under(
        self,
        words: Words,
        i: int,
        attempt: int,
        row: int,
        height: int,
        height_bits: int,
        cell: int,
        fraction: int,
        level: Level,
        column: int,
    ) -> bool:
        """Whether r + V < R f(k + U)."""
        if not self.is_narrow and (row + 1) * ONE <= (self._edge(level.first + column + 1) - 1024) * level.rows:
            return True  # the whole row lies under the value at the column's right end
        y, y_bits = row << height_bits | height, height_bits
        u, u_bits = cell << self.fraction_bits | fraction, self.fraction_bits
        for m in range(2):
            y, y_bits = y << 64 | words.extra(i, attempt, m)[1], y_bits + 64
            if self.is_real:
                u, u_bits = u << 64 | words.extra(i, attempt, m + 1)[0], u_bits + 64
        f = self._f(Fraction(u, 1 << u_bits)) >> (self.is_narrow and cell == 0)
        slack = SLACK + (ONE >> u_bits if self.is_real else 0)
        if (y + 1) << P <= ((f - slack) * level.rows) << y_bits:
            return True
        assert y << P >= ((f + slack) * level.rows) << y_bits, "undecided"
        return False

    def integer(self, words: Words, i: int) -> int:
        """Sample i of an integer law."""
        negative, cell, _, _ = self._point(words, i)
        return -cell if negative else cell

    def real(self, words: Words, i: int, x: float = 0.0) -> float:
        """Sample i of a real law, added to x and rounded to the grid."""
        negative, cell, fraction, attempt = self._point(words, i)
        u, bits = cell << self.fraction_bits | fraction, self.fraction_bits
        for m in range(1, 4):
            u, bits = u << 64 | words.extra(i, attempt, m)[0], bits + 64
        ends = []
        for bound in (u, u + 1):
            z = Fraction(-bound if negative else bound, 1 << bits)
            ends.append(floor(Fraction(x) / Fraction(2) ** self.grid + z + Fraction(1, 2)))
        assert ends[0] == ends[1], "undecided"
        exact = ends[0] * Fraction(2) ** self.grid
        try:
            return float(exact)  # of a fraction, correctly rounded
        except OverflowError:
            return 1.7976931348623157e308 if exact > 0 else -1.7976931348623157e308

    def samples(self, key: bytes) -> Iterator[int | float]:
        """All samples under a key, in order."""
        words = Words(key)
        draw = self.real if self.is_real else self.integer
        return (draw(words, i) for i in count())
