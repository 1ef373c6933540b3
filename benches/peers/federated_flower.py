"""Flower's own secure-aggregation functions, timed in seconds on cores; one JSON object. Run in a virtual environment with flwr."""

import json
import time

import numpy as np
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes


def best(times, work):
    least, out = float("inf"), None
    for _ in range(times):
        begin = time.process_time()
        out = work()
        least = min(least, time.process_time() - begin)
    return least, out


million = [np.random.default_rng(1).uniform(-1e-3, 1e-3, 1_000_000)]
quantised, words = best(3, lambda: quantize(million, 8.0, 1 << 16))
generated, mask = best(5, lambda: pseudo_rand_gen(b"\1" * 32, 1 << 32, [(1_000_000,)]))
added, _ = best(5, lambda: [a + b for a, b in zip(words, mask, strict=True)])
seed = b"\7" * 32
split, shares = best(2, lambda: create_shares(seed, 51, 100))
rebuild, secret = best(2, lambda: combine_shares(shares[:51]))
assert secret == seed
split51, _ = best(2, lambda: create_shares(seed, 28, 51))
# A client of Flower deals its mask seed and its private key, in PEM.
private = private_key_to_bytes(generate_key_pairs()[0])
split_key, _ = best(2, lambda: create_shares(private, 28, 51))
print(
    json.dumps(
        {
            "quantise": quantised, "mask": generated, "add": added, "split": split, "rebuild": rebuild,
            "split51": split51, "split_key": split_key,
        }
    )
)
