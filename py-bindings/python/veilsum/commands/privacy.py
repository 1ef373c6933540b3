"""``veilsum epsilon`` and ``calibrate``: what a training run costs, and how much noise a budget needs."""

import argparse
import json
from fractions import Fraction
from typing import Any

from .. import accounting
from .._errors import ArgumentError


def register(subparsers: Any) -> None:
    """Add ``epsilon`` and ``calibrate``."""
    epsilon = subparsers.add_parser("epsilon", help="enclose epsilon of repeated, possibly subsampled Gaussian noise")
    epsilon.add_argument("--sigma", type=float, required=True, help="noise multiplier: standard deviation over sensitivity")
    _run(epsilon)
    epsilon.add_argument("--group", type=int, nargs="*", default=[], metavar="K", help="also for groups of K (unsampled)")
    epsilon.set_defaults(run=run_epsilon)

    calibrate = subparsers.add_parser("calibrate", help="the least noise multiplier, or most steps, that certainly meets a budget")
    calibrate.add_argument("--epsilon", type=float, required=True, help="the budget's epsilon, > 0")
    calibrate.add_argument("--sigma", type=float, help="print how many steps at this noise multiplier fit, instead of the least one")
    _run(calibrate)
    calibrate.set_defaults(run=run_calibrate)


def _run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rate", type=Fraction, default=Fraction(1), help="Poisson sampling rate, such as 256/60000")
    command.add_argument("--steps", type=int, help="how often it runs (1)")
    command.add_argument("--delta", type=float, required=True, help="in (0, 1)")
    command.add_argument("--neighbors", default="add-remove", help="add-remove, replace-one or zero-out")
    command.add_argument("--json", action="store_true", help="print the answer as JSON")


def _event(arguments: argparse.Namespace, sigma: float) -> accounting.Event:
    event = accounting.gaussian(sigma)
    return event if arguments.rate == 1 else accounting.poisson_sampled(arguments.rate, event)


def run_epsilon(arguments: argparse.Namespace) -> None:
    """Print the enclosure of epsilon, and of groups on request."""
    accountant = accounting.PldAccountant(neighbors=arguments.neighbors)
    steps = 1 if arguments.steps is None else arguments.steps
    accountant.compose(_event(arguments, arguments.sigma), steps)
    found = accountant.epsilon(arguments.delta)
    answer: dict[str, Any] = {"epsilon": [found.lo, found.hi], "delta": arguments.delta}
    lines = [f"epsilon {found} at delta {arguments.delta:g}"]
    if arguments.group and arguments.rate != 1:
        raise ArgumentError(f"rate is {arguments.rate}: groups are accounted without sampling alone, so leave --group out")
    for size in arguments.group:
        if size < 1:
            raise ArgumentError(f"group is {size}: it must be a whole number >= 1")
        group = accounting.PldAccountant(neighbors=arguments.neighbors)
        event = accounting.gaussian(arguments.sigma).for_group(size)
        of_group = group.compose(event, steps).epsilon(arguments.delta)
        answer.setdefault("groups", {})[str(size)] = [of_group.lo, of_group.hi]
        lines.append(f"epsilon {of_group} for groups of {size}")
    print(json.dumps(answer) if arguments.json else "\n".join(lines))


def run_calibrate(arguments: argparse.Namespace) -> None:
    """Print the least sigma, or the most steps at a given one."""
    budget = {"epsilon": arguments.epsilon, "delta": arguments.delta}
    if arguments.sigma is not None:
        if arguments.steps is not None:
            raise ArgumentError("steps are what --sigma asks for: leave one of --sigma and --steps out")
        event = _event(arguments, arguments.sigma)
        steps = accounting.most_steps(event, **budget, neighbors=arguments.neighbors)
        line = f"{steps} steps meet epsilon {arguments.epsilon:g}"
        print(json.dumps({"steps": steps, "sigma": arguments.sigma, **budget}) if arguments.json else line)
        return
    steps = 1 if arguments.steps is None else arguments.steps
    sigma = accounting.calibrate(
        lambda sigma: _event(arguments, sigma), **budget, steps=steps, neighbors=arguments.neighbors
    )
    answer = {"sigma": sigma, "steps": steps, **budget}
    print(json.dumps(answer) if arguments.json else f"sigma {sigma!r} meets epsilon {arguments.epsilon:g}")
