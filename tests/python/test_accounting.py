"""The accountants, from Python."""

import json
import math
from fractions import Fraction

import pytest

import veilsum as vs
from veilsum import accounting as ac
from veilsum.__main__ import main


def test_published_values() -> None:
    a = ac.PldAccountant(neighbors="add-remove")
    a.compose(ac.poisson_sampled(0.04, ac.gaussian(1.5)), 2250)
    e = a.epsilon(1e-5)
    assert e.lo <= 6.768785 and 6.768775 <= e.hi and e.hi - e.lo < 1e-6 * e.hi
    assert float(a.epsilon(1e-30)) < 20


def test_relations_are_refused_by_name() -> None:
    for event, neighbors in [
        (ac.poisson_sampled(0.1, ac.gaussian(1)), "replace-one"),
        (ac.randomized_response(1.0), "add-remove"),
        (ac.sampled_without_replacement(100, 10, ac.gaussian(1)), "add-remove"),
    ]:
        with pytest.raises(vs.VeilsumError, match=event.kind):
            ac.PldAccountant(neighbors=neighbors).compose(event)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_arguments_out_of_range(bad: float) -> None:
    a = ac.PldAccountant(neighbors="add-remove").compose(ac.gaussian(1.0), 3)
    with pytest.raises(ValueError):
        a.delta(bad)
    for delta in (0.0, 1.0, bad):
        with pytest.raises(ValueError):
            a.epsilon(delta)


def test_a_pld_is_no_filter() -> None:
    with pytest.raises(vs.VeilsumError, match="cannot be a filter"):
        ac.filter_of(ac.PldAccountant(neighbors="add-remove"))


def test_an_rdp_filter_stops_adaptive_spending() -> None:
    f = ac.RdpFilter(epsilon=1.0, delta=1e-5, order=20, neighbors="add-remove")
    spent = 0
    with pytest.raises(vs.accounting.BudgetExceeded):
        while True:
            f.spend(ac.gaussian(20.0))
            spent += 1
    assert spent > 5 and f.remaining.epsilon >= 0
    # What was spent in fact, had it been fixed beforehand, costs less than the budget.
    assert ac.PldAccountant(neighbors="add-remove").compose(ac.gaussian(20.0), spent).epsilon(1e-5).hi <= 1.0
    with pytest.raises(vs.VeilsumError, match="poisson_sampled"):
        f.spend(ac.poisson_sampled(0.1, ac.gaussian(20.0)))
    with pytest.raises(ValueError, match="order"):
        ac.RdpFilter(epsilon=1.0, delta=1e-5, order=1, neighbors="add-remove")


@pytest.mark.parametrize("size", [2, 5])
def test_groups(size: int) -> None:
    assert ac.gaussian(6.0).for_group(size) == ac.gaussian(Fraction(6, size))
    assert ac.discrete_laplace(3.0, 2).for_group(size) == ac.discrete_laplace(3.0, 2 * size)
    assert ac.skellam(9.0, 2, 3).for_group(size) == ac.skellam(9.0, 2 * size, 3 * size)
    assert ac.pure(0.5).for_group(size) == ac.pure(Fraction(size, 2))
    for event in (ac.poisson_sampled(0.1, ac.gaussian(1)), ac.approximate(1.0, 1e-6)):
        with pytest.raises(vs.VeilsumError, match=event.kind):
            event.for_group(size)
    with pytest.raises(ValueError):
        ac.gaussian(1.0).for_group(0)


def test_upper_bounds_lie_above_the_tight_answer() -> None:
    event = ac.composed([ac.gaussian(3.0), (ac.laplace(20.0), 5)])
    tight = ac.PldAccountant(neighbors="zero-out").compose(event, 4)
    for kind in (ac.RdpAccountant, ac.ZcdpAccountant):
        loose = kind(neighbors="zero-out").compose(event, 4)
        for delta in (1e-3, 1e-6, 1e-12):
            assert tight.epsilon(delta).lo <= loose.epsilon(delta).hi < 1.6 * tight.epsilon(delta).hi
        assert loose.delta(1.0).hi >= tight.delta(1.0).lo


def test_calibration_certifies() -> None:
    def event(sigma: float) -> ac.Event:
        return ac.poisson_sampled(Fraction(256, 60000), ac.gaussian(sigma))

    sigma = ac.calibrate(event, epsilon=1.0, delta=1e-5, steps=14040)
    epsilon = lambda s: ac.PldAccountant(neighbors="add-remove").compose(event(s), 14040).epsilon(1e-5)  # noqa: E731
    assert epsilon(sigma).hi <= 1.0 < epsilon(sigma * (1 - 1e-6)).lo
    fits = ac.most_steps(event(1.1), epsilon=2.0, delta=1e-5)
    of = lambda n: ac.PldAccountant(neighbors="add-remove").compose(event(1.1), n).epsilon(1e-5)  # noqa: E731
    assert of(fits).hi <= 2.0 < of(fits + 1).lo
    assert ac.most_steps(ac.gaussian(0.1), epsilon=1.0, delta=1e-5) == 0
    with pytest.raises(ZeroDivisionError):
        ac.calibrate(lambda s: ac.gaussian(s / 0), epsilon=1.0, delta=1e-5)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["epsilon", "--sigma", "1.1", "--rate", "256/60000", "--steps", "14040", "--delta", "1e-5", "--json"]) == 0
    lo, hi = json.loads(capsys.readouterr().out)["epsilon"]
    assert lo <= 2.3795545188 <= hi
    assert main(["epsilon", "--sigma", "5", "--delta", "1e-5", "--group", "2", "5", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["groups"]) == {"2", "5"}
    assert main(["calibrate", "--epsilon", "1", "--rate", "0.01", "--delta", "1e-5", "--json"]) == 0
    assert abs(json.loads(capsys.readouterr().out)["sigma"] - 0.6737928924603) < 1e-8
    assert main(["calibrate", "--epsilon", "1", "--delta", "1e-5", "--sigma", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 7
    assert main(["calibrate", "--epsilon", "1", "--delta", "1e-5", "--sigma", "10", "--steps", "3"]) == 1
    assert "leave one" in capsys.readouterr().err


def test_the_privacy_profile_is_drawn_between_its_ends() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="pictures are an optional extra")
    matplotlib.use("Agg")
    from veilsum.plot import privacy_profile

    accountant = ac.PldAccountant(neighbors="add-remove").compose(ac.poisson_sampled(0.01, ac.gaussian(1.0)), 1000)
    (curve,) = privacy_profile(accountant, points=20).get_lines()
    epsilons, deltas = curve.get_data()
    assert len(epsilons) == 20 and epsilons[0] == 0 and abs(deltas[-1] / 1e-12 - 1) < 1e-6
    assert all(later <= earlier for earlier, later in zip(deltas, deltas[1:], strict=False))
    for epsilon, delta in zip(epsilons, deltas, strict=True):
        assert accountant.delta(float(epsilon)).lo <= delta
    with pytest.raises(vs.VeilsumError, match="largest"):
        privacy_profile(accountant, largest=math.inf)
