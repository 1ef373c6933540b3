"""Writes accounting.json: privacy profiles to 20 digits, from their definitions, in arbitrary precision (mpmath).

Nothing here shares a formula with the crate where an independent one exists: sums are taken over the outcomes of P and Q
themselves, and sampled pairs are mixed before the divergence is taken.
"""

import json
import sys

from mpmath import exp, log, mp, mpf, ncdf, besseli, sqrt, erfc, floor, ceil, expm1, quad

mp.dps = 60  # digits


def text(x):
    return mp.nstr(x, 20, strip_zeros=False, min_fixed=0, max_fixed=0)


def f(x):
    """The exact value of the double that the test will read."""
    return mpf(float(x))


def tail(x):
    return erfc(x / sqrt(2)) / 2


def gaussian(sigma, eps):
    return tail(eps * sigma - 1 / (2 * sigma)) - exp(eps) * tail(eps * sigma + 1 / (2 * sigma))


def laplace(b, eps):
    return -expm1((eps - 1 / b) / 2) if eps < 1 / b else mpf(0)


def finite(pairs, eps):
    """Hockey-stick divergence of outcomes (p, q)."""
    rounding = mpf(10) ** -55
    return sum((p - exp(eps) * q for p, q in pairs if p - exp(eps) * q > rounding * p), mpf(0))


def discrete_gaussian_pairs(sigma, d):
    reach = int(ceil(40 * sigma)) + 2 + d
    weight = {x: exp(-mpf(x) ** 2 / (2 * sigma**2)) for x in range(-reach - d, reach + d + 1)}
    total = sum(weight[x] for x in range(-reach, reach + 1))
    return [(weight[x - d] / total if abs(x - d) <= reach else mpf(0), weight[x] / total if abs(x) <= reach else mpf(0)) for x in range(-reach + d, reach + d + 1) if abs(x) <= reach + d]


def discrete_laplace_pairs(scale, d):
    r = exp(-1 / scale)
    c = (1 - r) / (1 + r)
    inner = [(c * r ** abs(x - d), c * r ** abs(x)) for x in range(1, d)]
    return [(r**d / (1 + r), 1 / (1 + r)), (1 / (1 + r), r**d / (1 + r)), *inner]


def skellam_pairs(v, d):
    k = 1
    while (pmf := exp(-v) * besseli(k, v)) > mpf(10) ** -300:
        k = int(k * 1.3) + 1
    p = [exp(-v) * besseli(x, v) for x in range(k + d + 1)]
    return [(p[abs(x - d)], p[abs(x)]) for x in range(-k, k + d + 1) if abs(x - d) <= k]


def randomized_response_pairs(e, k):
    total = exp(e) + k - 1
    return [(exp(e) / total, 1 / total), (1 / total, exp(e) / total)] + [(1 / total, 1 / total)] * (k - 2)


def approximate_pairs(e, d):
    good = (1 - d) / (1 + exp(e))
    return [(d, mpf(0)), (mpf(0), d), (good * exp(e), good), (good, good * exp(e))]


def sampled(pairs, q):
    """(removal, addition) pairs of a Poisson sample."""
    remove = [((1 - q) * b + q * a, b) for a, b in pairs]
    add = [(a, (1 - q) * a + q * b) for a, b in pairs]
    return remove, add


def sampled_gaussian(sigma, q, eps):
    """Both directions, by the threshold on x: likelihood ratio 1 - q + q exp((2x - 1) / (2 sigma^2))."""
    a = exp(eps)
    t = sigma**2 * log((a - 1 + q) / q) + mpf(1) / 2
    up = lambda m: tail((t - m) / sigma)
    remove = (1 - q) * up(0) + q * up(1) - a * up(0)
    add = mpf(0)
    if a * (1 - q) < 1:
        # P = N(1), Q = (1 - q) N(1) + q N(0): P / Q > a where exp((1 - 2x) / (2 sigma^2)) < (1/a - 1 + q) / q.
        t = mpf(1) / 2 - sigma**2 * log((1 / a - 1 + q) / q)
        up = lambda m: tail((t - m) / sigma)
        add = up(1) - a * ((1 - q) * up(1) + q * up(0))
    return max(remove, add)


def composed(laws, eps):
    """Hockey-stick divergence of products of finite laws: losses are collected exactly enough (1e-40) by rounding them."""
    total, infinite = {0: (mpf(0), mpf(1))}, mpf(0)
    for law, count in laws:
        steps = [(a, log(a / b)) for a, b in law if a > 0 and b > 0]
        gone = sum((a for a, b in law if b == 0), mpf(0))
        for _ in range(count):
            following, escaped = {}, mpf(0)
            for loss, p in total.values():
                escaped += p * gone
                for a, step in steps:
                    sum_ = loss + step
                    key = int(mp.nint(sum_ * mpf(10) ** 30))
                    known = following.get(key)
                    following[key] = (sum_, p * a + (known[1] if known else 0))
            total, infinite = following, infinite + escaped
    return infinite + sum((p * -expm1(eps - loss) for loss, p in total.values() if loss > eps), mpf(0))


def twice(density, loss, one, atoms, kinks, ends, eps):
    """delta of two releases: the expectation over the first one's outcome of the second one's delta at what is left."""
    whole = sum((p * one(eps - l) for l, p in atoms), mpf(0))
    points = sorted({x for x in ends + kinks if ends[0] <= x <= ends[-1]})
    return whole + sum(quad(lambda x: density(x) * one(eps - loss(x)), [a, b], maxdegree=7) for a, b in zip(points, points[1:]))


def twice_sampled_gaussian(sigma, q, eps, joined=False):
    """Two Poisson samples, both directions; or two samples without replacement (one joined pair)."""
    normal = lambda x: exp(-(x**2) / (2 * sigma**2)) / (sigma * sqrt(2 * mp.pi))
    mixed = lambda x: (1 - q) * normal(x) + q * normal(x - 1)
    ratio = lambda x: log(1 - q + q * exp((2 * x - 1) / (2 * sigma**2)))
    place = lambda l: sigma**2 * log((expm1(l) + q) / q) + mpf(1) / 2 if expm1(l) + q > 0 else None

    def removal(e):
        t = place(e)
        if t is None:
            return -expm1(e)
        return (1 - q) * tail(t / sigma) + q * tail((t - 1) / sigma) - exp(e) * tail(t / sigma)

    def addition(e):
        t = place(-e)
        if t is None:
            return mpf(0)
        below = lambda m: tail((m - t) / sigma)
        return below(0) - exp(e) * ((1 - q) * below(0) + q * below(1))

    ends = [k * sigma for k in (-20, -12, -7, -3, 0)] + [mpf(1) / 2] + [1 + k * sigma for k in (0, 3, 7, 12, 20)]
    near = lambda l: [x + d for x in [place(l)] if x is not None for d in (0, sigma / 64, -sigma / 64, sigma / 8, -sigma / 8)]
    if joined:
        one = lambda e: removal(e) if e >= 0 else -expm1(e) + exp(e) * removal(-e)
        half = [x for x in ends if x >= mpf(1) / 2]
        kinks = near(eps) + near(-eps)
        up = twice(mixed, ratio, one, [], kinks, half, eps)
        down = twice(normal, lambda x: -ratio(x), one, [], near(eps) + near(-eps), half, eps)
        above = tail((mpf(1) / 2) / sigma)
        middle = 1 - ((1 - q) * above + q * tail(-(mpf(1) / 2) / sigma)) - above
        return up + down + middle * one(eps)
    # The second release's delta turns sharply where what is left passes its least loss.
    remove = twice(mixed, ratio, removal, [], near(eps - log(1 - q)), sorted(ends), eps)
    add = twice(normal, lambda x: -ratio(x), addition, [], near(-eps - log(1 - q)), sorted(ends), eps)
    return max(remove, add)


def twice_laplace(b, eps):
    t = 1 / b
    one = lambda e: mpf(0) if e >= t else -expm1(e) if e <= -t else -expm1((e - t) / 2)
    atoms = [(t, mpf(1) / 2), (-t, exp(-t) / 2)]
    return twice(lambda l: exp(-(t - l) / 2) / 4, lambda l: l, one, atoms, [eps - t, eps + t], [-t, mpf(0), t], eps)


def main():
    cases = []

    def case(event, neighbors, eps, delta):
        if delta > mpf(10) ** -280 or delta == 0:
            cases.append({"event": event, "neighbors": neighbors, "epsilon": float(eps), "delta": text(delta)})

    exact = lambda x: "/".join(map(str, float(x).as_integer_ratio()))
    for sigma in [0.05, 0.3, 0.67, 1.0, 1.7, 4.0, 30.0, 1e3, 1e5, 1e8]:
        event = {"kind": "gaussian", "noise_multiplier": exact(sigma)}
        for eps in [0.0, 1e-9, 1e-4, 0.03, 0.5, 1.0, 2.5, 7.0, 20.0, 300.0]:
            delta = gaussian(f(sigma), f(eps))
            case(event, "add-remove", eps, delta)
            for q in [1e-5, 0.01, 0.3, 0.999]:
                s = {"kind": "poisson_sampled", "rate": exact(q), "event": event}
                case(s, "add-remove", eps, sampled_gaussian(f(sigma), f(q), f(eps)))
    for b in [0.1, 0.5, 1.0, 3.0, 1e4]:
        for eps in [0.0, 1e-5, 0.2, 0.99, 1.9, 9.5]:
            case({"kind": "laplace", "noise_multiplier": exact(b)}, "zero-out", eps, laplace(f(b), f(eps)))
    finite_laws = []
    for sigma, d in [(0.2, 1), (0.5, 1), (1.0, 1), (1.0, 3), (3.3, 2), (12.0, 7), (60.0, 1), (120.0, 1), (150.0, 40)]:
        event = {"kind": "discrete_gaussian", "sigma": exact(sigma), "sensitivity": d}
        finite_laws.append((event, discrete_gaussian_pairs(f(sigma), d)))
    for scale, d in [(0.3, 1), (1.0, 1), (2.0, 5), (50.0, 1), (20.0, 60)]:
        event = {"kind": "discrete_laplace", "scale": exact(scale), "sensitivity": d}
        finite_laws.append((event, discrete_laplace_pairs(f(scale), d)))
    for v, d in [(0.1, 1), (1.0, 1), (4.0, 3), (50.0, 2), (900.0, 10)]:
        event = {"kind": "skellam", "variance": exact(v), "l1": d, "squared_l2": d * d}
        finite_laws.append((event, skellam_pairs(f(v), d)))
    for e, d in [(0.5, 1e-6), (3.0, 0.01), (0.0, 0.2)]:
        event = {"kind": "approximate", "epsilon": exact(e), "delta": exact(d)}
        finite_laws.append((event, approximate_pairs(f(e), f(d))))
    for event, pairs in finite_laws:
        for eps in [0.0, 1e-3, 0.3, 1.0, 2.0, 6.0, 15.0]:
            case(event, "add-remove", eps, finite(pairs, f(eps)))
            for q in [0.01, 0.4]:
                remove, add = sampled(pairs, f(q))
                s = {"kind": "poisson_sampled", "rate": exact(q), "event": event}
                case(s, "add-remove", eps, max(finite(remove, f(eps)), finite(add, f(eps))))
    for e, k in [(0.1, 2), (1.0, 2), (2.0, 7), (5.0, 1000)]:
        event = {"kind": "randomized_response", "epsilon": exact(e), "categories": k}
        for eps in [0.0, 0.05, 0.9, 3.0]:
            case(event, "replace-one", eps, finite(randomized_response_pairs(f(e), k), f(eps)))
    compositions = []

    def composition(parts, neighbors, laws, epsilons):
        """laws: one list of (direction's laws with counts); each law is a list of outcomes (p, q)."""
        for eps in epsilons:
            delta = max(composed(direction, f(eps)) for direction in laws)
            if delta > mpf(10) ** -250:
                events = [[event, count] for event, count in parts]
                compositions.append({"events": events, "neighbors": neighbors, "epsilon": float(eps), "delta": text(delta)})

    def law(event):
        kind = event["kind"]
        number = lambda name: mpf(int(event[name].split("/")[0])) / int(event[name].split("/")[1])
        if kind == "pure":
            e = number("epsilon")
            return [(exp(e) / (1 + exp(e)), 1 / (1 + exp(e))), (1 / (1 + exp(e)), exp(e) / (1 + exp(e)))]
        if kind == "approximate":
            return approximate_pairs(number("epsilon"), number("delta"))
        if kind == "randomized_response":
            e, k = number("epsilon"), event["categories"]
            t = exp(e) + k - 1
            return [(exp(e) / t, 1 / t), (1 / t, exp(e) / t), ((k - 2) / t, (k - 2) / t)]
        if kind == "discrete_gaussian":
            pairs = discrete_gaussian_pairs(number("sigma"), event["sensitivity"])
            return [pair for pair in pairs if min(pair) > mpf(10) ** -60]
        raise ValueError(kind)

    pure = lambda e: {"kind": "pure", "epsilon": exact(e)}
    poisson = lambda q, event: {"kind": "poisson_sampled", "rate": exact(q), "event": event}
    response = {"kind": "randomized_response", "epsilon": exact(0.5), "categories": 3}
    approximate = {"kind": "approximate", "epsilon": exact(0.25), "delta": exact(1e-7)}
    for t in [2, 7, 40]:
        composition([(pure(0.25), t)], "add-remove", [[(law(pure(0.25)), t)]], [0.0, 0.1, 0.5, 1.0, 0.2 * t])
        composition([(response, t)], "replace-one", [[(law(response), t)]], [0.0, 0.1, 0.5, 1.0, 0.4 * t])
        composition([(approximate, t)], "zero-out", [[(law(approximate), t)]], [0.0, 0.1, 0.5, 2.0, 0.3 * t])
        remove, add = sampled(law(pure(2.0)), f(0.1))
        composition([(poisson(0.1, pure(2.0)), t)], "add-remove", [[(remove, t)], [(add, t)]], [0.0, 0.1, 0.5, 1.0, 0.3 * t])
    remove, add = sampled(law(approximate), f(0.3))
    parts = [(poisson(0.3, approximate), 9), (pure(1.0), 3)]
    composition(parts, "add-remove", [[(remove, 9), (law(pure(1.0)), 3)], [(add, 9), (law(pure(1.0)), 3)]], [0.0, 0.5, 1.5, 3.0])
    for sigma, d, t in [(1.0, 1, 3), (3.0, 2, 4), (0.5, 1, 12)]:
        event = {"kind": "discrete_gaussian", "sigma": exact(sigma), "sensitivity": d}
        composition([(event, t)], "replace-one", [[(law(event), t)]], [0.0, 0.5, 2.0, 5.0, 20.0])
    # Continuous laws, twice, by quadrature with 30 digits.
    mp.dps = 30
    pair = lambda event, neighbors, eps, delta: compositions.append(
        {"events": [[event, 2]], "neighbors": neighbors, "epsilon": float(eps), "delta": text(delta)}
    )
    normal = lambda sigma: {"kind": "gaussian", "noise_multiplier": exact(sigma)}
    for sigma, q, epsilons in [
        (0.3, 1e-4, [0.0, 0.05, 5.0]),
        (0.34, 0.0054, [1e-3, 0.2678, 6.0]),
        (4.16, 0.00182, [0.0, 1e-3, 5e-3]),
        (1.0, 0.25, [0.0, 0.5, 3.0]),
        (100.0, 0.01, [1e-5, 4e-4]),
    ]:
        for eps in epsilons:
            pair(poisson(q, normal(sigma)), "add-remove", eps, twice_sampled_gaussian(f(sigma), f(q), f(eps)))
    for sigma, n, m, epsilons in [(1.0, 100, 10, [0.0, 0.1, 1.0]), (5.0, 50, 25, [0.01, 0.2]), (0.6, 1000, 3, [1e-3, 1.5])]:
        event = {"kind": "sampled_without_replacement", "population": n, "size": m, "event": normal(sigma)}
        for eps in epsilons:
            pair(event, "replace-one", eps, twice_sampled_gaussian(f(sigma), mpf(m) / n, f(eps), joined=True))
    for b, epsilons in [(0.5, [0.0, 1.0, 3.5]), (20.0, [0.01, 0.09])]:
        for eps in epsilons:
            pair({"kind": "laplace", "noise_multiplier": exact(b)}, "zero-out", eps, twice_laplace(f(b), f(eps)))
    with open(sys.argv[1], "w") as out:
        out.write('{"source": "make_accounting.py, mpmath at 60 digits, quadratures at 30", "licence": "MIT OR Apache-2.0", "profiles": [\n')
        out.write(",\n".join(json.dumps(c) for c in cases) + '\n], "compositions": [\n')
        out.write(",\n".join(json.dumps(c) for c in compositions) + "\n]}\n")


main()
