"""The shipped samplers against the written map in plain Python, and noise that never repeats."""

import importlib
import multiprocessing
import os
import pickle
import threading
import warnings
from fractions import Fraction

import numpy as np
import pytest

import veilsum as vs

KEY = bytes(range(32))
DEEP = "VEILSUM_DEEP" in os.environ
N = 200_000 if DEEP else 2_000

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    testing = importlib.import_module("veilsum.testing")

SCALES = [1, Fraction(1, 997), Fraction(2, 3), Fraction(12345, 7), 10**6 + Fraction(1, 3), 2**40]


def mechanisms():
    for s in SCALES:
        yield vs.dp.Laplace(scale=s, sensitivity=1)
        yield vs.dp.Gaussian(sigma=s, sensitivity=1)
        yield vs.dp.DiscreteLaplace(scale=s, sensitivity=1)
        yield vs.dp.DiscreteGaussian(sigma=s, sensitivity=1)
        yield vs.dp.Skellam(variance=s, sensitivity=1)


@pytest.mark.parametrize("m", list(mechanisms()), ids=repr)
def test_the_map_is_the_written_one(m):
    fast = testing.fast_sample(m, KEY, N)
    np.testing.assert_array_equal(fast, testing.reference_sample(m, KEY, N))
    assert fast.dtype == m.sample(1).dtype
    np.testing.assert_array_equal(testing.fast_sample(m, KEY, 7), fast[:7])
    assert (testing.fast_sample(m, bytes(32), N) != fast).any() or m.sample(N).std() == 0


def test_the_replay_can_fail():
    m = vs.dp.DiscreteGaussian(sigma=1000, sensitivity=1)
    other = vs.dp.DiscreteGaussian(sigma=np.nextafter(1000, 2000) + 0.5, sensitivity=1)
    assert (testing.fast_sample(m, KEY, N) != testing.reference_sample(other, KEY, N)).any()


def test_keys_are_checked():
    m = vs.dp.Laplace(scale=1.0, sensitivity=1)
    for sample in (testing.fast_sample, testing.reference_sample):
        with pytest.raises(vs.VeilsumError, match="32"):
            sample(m, b"short", 1)
        with pytest.raises(TypeError):
            sample(vs.dp.RandomizedResponse(epsilon=1.0), KEY, 1)


BIG = vs.dp.DiscreteLaplace(scale=2**50, sensitivity=1)  # two draws agree with probability 2^-50


def draw(_=None):
    return BIG.sample(20).tolist()


def test_a_forked_child_draws_other_noise():
    here = draw()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.write(writer, np.array(BIG.sample(20)).tobytes())
        os._exit(0)
    after = draw()
    os.waitpid(child, 0)
    theirs = np.frombuffer(os.read(reader, 160), dtype=np.int64).tolist()
    assert len({*here, *after, *theirs}) == 60


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_draw_other_noise(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            lists = pool.map(draw, range(6), chunksize=1)
    every = [k for part in [*lists, draw()] for k in part]
    assert len(set(every)) == len(every) == 140


def test_threads_and_copies_draw_other_noise():
    drawn = []
    copies = [BIG, pickle.loads(pickle.dumps(BIG)), vs.dp.DiscreteLaplace(scale=2**50, sensitivity=1)]
    threads = [threading.Thread(target=lambda m=m: drawn.extend(m.sample(50).tolist())) for m in copies * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == len(drawn) == 450
