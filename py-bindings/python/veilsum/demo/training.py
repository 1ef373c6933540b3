"""Step 2: six sites train a model that no server can look into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from .. import accounting, federated
from .data import FEATURES, SITES, Floats

ROUNDS = 40
CLIP = 1.0
LEARNING_RATE = 2.0
MOMENTUM = 0.8
CORRUPT = 1
DROPOUTS = 1
LOST_SITE, LOST_ROUND = 4, 20
TEST_SHARE = 5  # one person in five is in the public test split


@dataclass
class Trained:
    """A model, and what was seen on the way to it."""

    weights: list[Floats] = field(default_factory=list)
    """The model before the first round and after each one."""
    promise: str = ""
    """What was promised beforehand: for the fewest sites that a round may count."""
    statement: str = ""
    """What the last round was, in a sentence: for the sites that it counted."""
    epsilon: float = 0.0
    """What all rounds together cost, at the delta promised; from the clients that were counted."""
    survivors: list[int] = field(default_factory=list)
    """Number of sites counted in each round."""
    masked: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    """The words that one site uploaded, round by round, as the server saw them."""
    modulus_bits: int = 0
    learned: Floats = field(default_factory=lambda: np.zeros(0))
    """The sum that the server learned in the last round."""


@dataclass(frozen=True)
class Quality:
    """Figures without privacy, computed on the public test people."""

    auc: list[float]
    half_width: float
    """Of the last AUC's 95 % interval, the test people seen as a sample."""
    auc_without_privacy: float


class Site:
    """One site's people: a block of rows each, in the person's order."""

    def __init__(self, frame: pd.DataFrame) -> None:
        frame = frame.sort_values("zper", kind="stable")
        self.design, self.visited = _design(frame)
        _, first = np.unique(frame.zper.to_numpy(), return_index=True)
        self.first = first

    def contributions(self, weights: Floats) -> Floats:
        """One row a person: minus the gradient of the log-likelihood over the person's years. Not yet clipped."""
        residual = 1 / (1 + np.exp(-self.design @ weights)) - self.visited
        return np.asarray(np.add.reduceat(residual[:, None] * self.design, self.first, axis=0), np.float64)


def train(
    frame: pd.DataFrame, ledger: accounting.Ledger, *, epsilon: float, delta: float, people: float, progress: bool
) -> Trained:
    """Train for 40 rounds; the whole training is reserved in the ledger before the first.

    ``people`` is the number that the table released: it turns sums into means without another look at the data.
    """
    kept = frame[~is_test(frame.zper)]
    sites = [Site(kept[kept.site == number]) for number in SITES]
    noise = federated.DistributedNoise(epsilon=epsilon, delta=delta, rounds=ROUNDS)
    config = federated.RoundConfig(
        clients=len(sites),
        dimension=sites[0].design.shape[1],
        clip=CLIP,
        unit="record",
        corrupt=CORRUPT,
        dropouts=DROPOUTS,
        noise=noise,
    )
    ledger.spend(
        accounting.approximate(epsilon, delta),
        label=f"federated training, {ROUNDS} rounds",
        key="training",
        provenance={
            "clip": f"{CLIP} a person, stated",
            "rounds": f"{ROUNDS}, stated",
            "sites": f"{len(sites)}, of which {CORRUPT} may be corrupt and {DROPOUTS} lost, stated",
        },
    )

    trained = Trained(weights=[np.zeros(config.dimension)], modulus_bits=config.modulus_bits)
    trained.promise = (
        f"epsilon {epsilon:g}, delta {delta:g} for each person over all {ROUNDS} rounds, against the server together with "
        f"any {CORRUPT} site, with up to {DROPOUTS} site lost in each round"
    )
    velocity = np.zeros(config.dimension)
    spent = accounting.RdpAccountant(neighbors="zero-out")
    training_people = people * (TEST_SHARE - 1) / TEST_SHARE
    for number in tqdm(range(ROUNDS), desc="   training", unit="round", disable=not progress):
        weights = trained.weights[-1]
        lost = {SITES.index(LOST_SITE): "upload"} if number == LOST_ROUND else {}
        result = federated.simulate([site.contributions(weights) for site in sites], config, dropouts=lost)
        velocity = MOMENTUM * velocity + result.sum / training_people
        trained.weights.append(weights - LEARNING_RATE * velocity)
        trained.survivors.append(len(result.survivors))
        trained.masked.append(np.asarray(result.masked[0], np.uint64))
        trained.statement, trained.learned = result.statement, result.sum
        assert result.event is not None, "the round has noise"
        spent.compose(result.event)
    trained.epsilon = float(spent.epsilon(delta))
    return trained


def reveal(frame: pd.DataFrame, trained: Trained, *, progress: bool) -> Quality:
    """AUC on the public test people after every round, and of the same training without clipping or noise."""
    test = is_test(frame.zper)
    design, visited = _design(frame[test])
    plain = _plain_training(Site(frame[~test]))
    rounds = tqdm(trained.weights[1:], desc="   AUC", unit="round", disable=not progress, leave=False)
    curve = [auc(design @ weights, visited) for weights in rounds]
    half_width = _half_width(design @ trained.weights[-1], visited, frame.zper[test].to_numpy())
    return Quality(curve, half_width, auc(design @ plain, visited))


def show(trained: Trained, quality: Quality | None) -> None:
    """Print what the training promises, and its quality if that was asked for."""
    print("\n2. Federated averaging that no server can look into")
    print(f"   {ROUNDS} rounds of six sites; the server learned {ROUNDS} noisy sums and nothing else.")
    print(f"   promised   {trained.promise}")
    print(f"   last round {trained.statement}")
    print("   Each person is at one site and is clipped, scaled and rounded alone; who takes part is public.")
    print("   No amplification by sampling is claimed: everyone takes part in every round.")
    print(f"   Site {LOST_SITE} was lost after sharing keys in round {LOST_ROUND + 1}: counted there {trained.survivors[LOST_ROUND]} of 6;")
    print(f"   the noise was sized for it. As they really happened, all rounds cost epsilon {trained.epsilon:.4f}.")
    if quality is not None:
        print("   without privacy (possible because this data set is public), on the public test people:")
        print(f"      AUC of the private model {quality.auc[-1]:.4f} (+- {quality.half_width:.3f} for the choice of test people),")
        print(f"      of the same training without clipping or noise {quality.auc_without_privacy:.4f}")


def show_server(trained: Trained) -> None:
    """Print a site's masked words beside the sum that the server learned."""
    words = trained.masked[-1]
    digits = -(-trained.modulus_bits // 4)
    print(f"\n4. What the server saw: the first words of site 1, modulo 2^{trained.modulus_bits}")
    print("   " + " ".join(f"{int(word):0{digits}x}" for word in words[:6]))
    statistic, p_value = uniformity(trained)
    print(f"   all {ROUNDS} rounds, top four bits: chi-square {statistic:.1f} at 15 degrees of freedom, p = {p_value:.2f}")
    print("   What it learned: the sum over the sites, with noise")
    print("   " + " ".join(f"{value:+.3f}" for value in trained.learned[:6]))


def uniformity(trained: Trained) -> tuple[float, float]:
    """Chi-square of the top four bits of every masked word of one site, and its p-value."""
    from scipy.stats import chisquare

    words = np.concatenate(trained.masked)
    counts = np.bincount((words >> np.uint64(trained.modulus_bits - 4)).astype(np.int64), minlength=16)
    result = chisquare(counts)
    return float(result.statistic), float(result.pvalue)


def is_test(people: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether a person is in the public test split: a rule about the person's number alone."""
    return np.asarray(people.to_numpy() % TEST_SHARE == 0)


def auc(scores: Floats, labels: Floats) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half."""
    ranks = pd.Series(scores).rank().to_numpy()
    positives = labels.sum()
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _half_width(scores: Floats, labels: Floats, people: npt.NDArray[np.int64]) -> float:
    """1.96 standard errors of the AUC, by a jackknife that leaves out a twentieth of the people at a time."""
    groups = np.unique(people, return_inverse=True)[1] % 20
    without = np.array([auc(scores[groups != g], labels[groups != g]) for g in range(20)])
    return float(1.96 * np.sqrt(19 / 20 * np.sum((without - without.mean()) ** 2)))


def _design(frame: pd.DataFrame) -> tuple[Floats, Floats]:
    """The rows' features in [-1, 1] behind a constant, and whether there was any visit in the year."""
    columns: Sequence[Any] = [np.ones(len(frame)), *(feature.scaled(frame) for feature in FEATURES)]
    return np.column_stack(columns), (frame.mdvis.to_numpy() > 0).astype(np.float64)


def _plain_training(site: Site) -> Floats:
    weights = np.zeros(site.design.shape[1])
    velocity = weights.copy()
    for _ in range(10 * ROUNDS):
        velocity = MOMENTUM * velocity + site.contributions(weights).sum(axis=0) / len(site.design)
        weights = weights - LEARNING_RATE * velocity
    return weights
