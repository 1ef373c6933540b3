"""Secure aggregation from Python: exact sums, dropouts, refusals, and noise that is what it says."""

import base64
import itertools
import json
import pickle
import signal
import struct
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

import veilsum as vs
from veilsum.federated import DistributedNoise, RoundConfig, simulate

sys.path.insert(0, str(Path(__file__).parent))
import federated_client  # noqa: E402

STAGES = ["advertise", "share", "upload", "confirm", "unmask"]


def six(**more: object) -> RoundConfig:
    return RoundConfig(**({"clients": 6, "dimension": 4, "clip": 1.0, "corrupt": 1, "dropouts": 1} | more))  # type: ignore[arg-type]


def rows(n: int = 6, d: int = 4) -> np.ndarray:
    return np.random.default_rng().uniform(-0.4, 0.4, (n, d))


@pytest.mark.parametrize("stage", STAGES)
def test_one_client_lost_at_each_stage(stage: str) -> None:
    updates = rows()
    r = simulate(updates, six(), dropouts={2: stage})
    counted = [0, 1, 2, 3, 4, 5] if stage in ("confirm", "unmask") else [0, 1, 3, 4, 5]
    assert r.survivors == counted
    np.testing.assert_allclose(r.sum, updates[counted].sum(axis=0), atol=6 * 0.5 / 32767 * 1.001)
    np.testing.assert_allclose(r.mean, r.sum / len(counted))
    assert r.event is None
    assert (r.bytes_up > 0).sum() >= 5 and r.bytes_down.shape == (6,) and r.server_seconds > 0


def test_more_losses_than_allowed_stop_the_round() -> None:
    for stage in STAGES[:3]:
        with pytest.raises(vs.federated.RoundAborted, match="fewer|no fewer"):
            simulate(rows(), six(), dropouts={1: stage, 2: stage})


def test_parameters_of_large_cohorts() -> None:
    for n, k, t in [(100, 12, 6), (1000, 30, 17), (10_000, 34, 20)]:
        cfg = RoundConfig(
            clients=n, dimension=1, clip=1.0, corrupt_fraction=0.05, dropout_fraction=0.05, malicious_server=False
        )
        assert (cfg.neighbors, cfg.threshold) == (k, t)
    for n, k in [(100, 16), (1000, 52), (10_000, 62)]:
        cfg = RoundConfig(clients=n, dimension=1, clip=1.0, corrupt_fraction=0.05, dropout_fraction=0.05)
        assert cfg.neighbors > k and 2 * cfg.threshold > cfg.neighbors + 1


@pytest.mark.parametrize("malicious", [False, True])
def test_sparse_graphs_give_exact_sums(malicious: bool) -> None:
    cfg = RoundConfig(
        clients=150,
        dimension=5,
        clip=1.0,
        corrupt_fraction=0.02,
        dropout_fraction=0.04,
        malicious_server=malicious,
        value_bits=12,
    )
    assert cfg.neighbors < 149
    updates = rows(150, 5)
    lost = dict(zip([3, 50, 77, 120, 149], itertools.cycle(STAGES), strict=False))
    r = simulate(updates, cfg, dropouts=lost)
    counted = [c for c in range(150) if lost.get(c) not in STAGES[:3]]
    assert r.survivors == counted
    np.testing.assert_allclose(r.sum, updates[counted].sum(axis=0), atol=150 * 0.5 / 2047 * 1.001)


def test_weights_travel_masked() -> None:
    updates, weights = rows(), np.array([1, 2, 3, 4, 5, 100])
    r = simulate(updates, six(max_weight=100), weights=weights, dropouts={0: "upload"})
    assert r.weight == weights[1:].sum()
    np.testing.assert_allclose(r.mean, np.average(updates[1:], axis=0, weights=weights[1:]), atol=1e-4)


@pytest.mark.parametrize("weights", [[0] * 6, [101] * 6, [1.5] * 6, [np.nan] * 6, [np.inf] * 6, [-1] * 6, [1] * 5])
def test_weights_that_are_refused(weights: list[float]) -> None:
    with pytest.raises(vs.VeilsumError):
        simulate(rows(), six(max_weight=100), weights=weights)


def test_updates_are_clipped_in_l2_without_noise_too() -> None:
    updates = np.full((6, 4), 1e300)
    np.testing.assert_allclose(simulate(updates, six()).mean, np.full(4, 0.5), atol=1e-4)
    np.testing.assert_allclose(simulate(np.zeros((6, 4)), six()).sum, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_updates_that_are_not_finite_are_refused(bad: float) -> None:
    updates = rows()
    updates[3, 0] = bad  # a later finite number must not hide it
    with pytest.raises(ValueError, match="NaN or an infinity"):
        simulate(updates, six())


def test_shapes_and_kinds_that_are_refused() -> None:
    for updates in [np.zeros((5, 4)), np.zeros((6, 3)), np.zeros(24), [[1, 2], [3]]]:
        with pytest.raises(vs.VeilsumError):
            simulate(updates, six())
    with pytest.raises(TypeError):
        simulate([["a"] * 4] * 6, six())
    for dropouts in [{9: "upload"}, {-1: "upload"}, {1: "lunch"}]:
        with pytest.raises(vs.VeilsumError):
            simulate(rows(), six(), dropouts=dropouts)


@pytest.mark.parametrize(
    "fault",
    [
        {"clients": 2},
        {"clients": 2**40},
        {"clients": -1},
        {"dimension": 0},
        {"clip": 0.0},
        {"clip": float("nan")},
        {"clip": float("inf")},
        {"value_bits": 1},
        {"value_bits": 33},
        {"max_weight": 0},
        {"corrupt": 3, "dropouts": 1},
        {"corrupt": 1, "dropouts": 3},
        {"corrupt": None, "dropouts": None},
        {"corrupt_fraction": 0.1},
        {"unit": "person"},
        {"clients": 65_000, "value_bits": 32, "max_weight": 2**24},
    ],
)
def test_rounds_that_are_refused(fault: dict[str, object]) -> None:
    with pytest.raises(vs.VeilsumError) as caught:
        six(**fault)
    assert isinstance(caught.value, ValueError)


def test_the_signal_never_wraps_at_the_extremes() -> None:
    for n, weight, bits in [(3, 1, 2), (6, 7, 16), (9, 1, 32), (64, 255, 24)]:
        cfg = RoundConfig(
            clients=n, dimension=2, clip=3.0, corrupt=0, dropouts=0, value_bits=bits, max_weight=weight
        )
        for sign in (1, -1):
            updates = np.zeros((n, 2))
            updates[:, 0] = sign * 3.0
            r = simulate(updates, cfg, weights=[weight] * n if weight > 1 else None)
            np.testing.assert_allclose(r.sum, [sign * 3.0 * n * weight, 0], rtol=1e-12)


def test_what_the_server_sees_is_uniform() -> None:
    cfg = six(dimension=20_000)
    r = simulate(np.zeros((6, 20_000)), cfg)
    assert set(r.masked) == set(range(6))
    words = np.concatenate(list(r.masked.values()))
    assert words.max() < 2**cfg.modulus_bits
    cells = np.bincount((words >> np.uint64(cfg.modulus_bits - 8)).astype(int), minlength=256)
    # Bernstein over 256 cells of 120,000 draws: a deviation of 190 in one cell has probability below 1e-13.
    assert np.abs(cells - words.size / 256).max() < 190
    again = simulate(np.zeros((6, 20_000)), cfg)
    assert not np.any(np.all(np.stack([again.masked[i] == r.masked[i] for i in range(6)]), axis=1))


def test_noise_is_sized_for_the_fewest_and_charged_for_the_actual() -> None:
    noise = DistributedNoise(epsilon=1, delta=1e-5, rounds=40)
    cfg = six(noise=noise, value_bits=8)
    full, lost = simulate(rows(), cfg), simulate(rows(), cfg, dropouts={3: "upload"})
    assert full.event is not None and lost.event is not None
    share = lost.event.parameters["variance"] / 4
    assert full.event.parameters["variance"] == 5 * share
    step = cfg.clip / 127
    assert float(share) * step**2 == pytest.approx(cfg.noise_share_variance)
    for word in ["zero-out", "the server and any 1 client", "40 rounds", "1e-5", "unit: one client"]:
        assert word in full.statement
    assert float(lost.statement[1:].split(",")[0]) <= 1.0 < 1.1
    assert float(full.statement[1:].split(",")[0]) < float(lost.statement[1:].split(",")[0])


def test_noise_has_the_variance_that_it_says() -> None:
    cfg = six(dimension=400, noise=DistributedNoise(epsilon=4, delta=1e-5), value_bits=6)
    r = simulate(np.zeros((6, 400)), cfg, dropouts={1: "share"})
    expected = 5 * cfg.noise_share_variance
    # Rotated Skellam sums, nearly normal: a chi-square of 400 degrees is within 0.55..1.6 but for 1e-10.
    assert 0.55 < (r.sum**2).mean() / expected < 1.6


def test_records_are_clipped_one_by_one() -> None:
    cfg = six(unit="record", max_records=100)
    sites = [np.random.default_rng().normal(0, 3, (int(k), 4)) for k in [0, 1, 5, 40, 100, 7]]
    r = simulate(sites, cfg)
    clipped = [s / np.maximum(1, np.linalg.norm(s, axis=1, keepdims=True)) for s in sites]
    total = np.concatenate(clipped).sum(axis=0)
    np.testing.assert_allclose(r.sum, total, atol=153 * 0.5 / 32767 * 1.001)
    np.testing.assert_allclose(r.mean, r.sum / 6)
    with pytest.raises(ValueError, match="max_records"):
        simulate([np.zeros((101, 4))] * 6, cfg)


def test_rules_that_look_at_single_updates_are_refused() -> None:
    assert simulate(rows(), six(), strategy="mean").survivors == list(range(6))
    for strategy in ("median", "krum"):
        with pytest.raises(ValueError, match="masks hide"):
            simulate(rows(), six(), strategy=strategy)
    with pytest.raises(ValueError, match="mean"):
        simulate(rows(), six(), strategy="best")
    with pytest.raises(TypeError):
        simulate(rows(), six(), strategy=None)  # type: ignore[arg-type]


def test_metrics_travel_masked() -> None:
    cfg = six(metrics={"examples": 10_000, "loss": 5.0}, value_bits=24)
    given = [{"examples": 100 * i, "loss": i / 3} for i in range(6)]
    r = simulate(rows(), cfg, metrics=given, dropouts={5: "share"})
    assert r.metrics["examples"] == 1000
    assert r.metrics["loss"] == pytest.approx(10 / 3, abs=1e-4)
    assert cfg.metrics == {"examples": 10_000.0, "loss": 5.0}
    assert pickle.loads(pickle.dumps(cfg)) == cfg != six(value_bits=24)
    assert simulate(rows(), six()).metrics == {}
    for wrong in [{"examples": 1}, {"examples": 10_001, "loss": 0}, {"examples": np.nan, "loss": 0}, {"a": 0, "loss": 0}]:
        with pytest.raises(vs.VeilsumError):
            simulate(rows(), cfg, metrics=[*given[:5], wrong])
    with pytest.raises(vs.VeilsumError):
        simulate(rows(), cfg)
    with pytest.raises(vs.VeilsumError):
        simulate(rows(), cfg, metrics=given[:5])
    with pytest.raises(ValueError, match="noise"):
        six(metrics={"loss": 1.0}, noise=DistributedNoise(epsilon=1, delta=1e-5), value_bits=8)


def test_weights_scale_no_noise() -> None:
    with pytest.raises(ValueError, match="clip"):
        six(max_weight=2, noise=DistributedNoise(epsilon=1, delta=1e-5), value_bits=8)


def test_noise_inflation() -> None:
    for n, expected in [(100, 1.002), (10_000, 1.174)]:
        found = vs.federated.noise_inflation(clients=n, dimension=2**20, bits=16, noise_multiplier=1, sigmas=4)
        assert round(found, 3) == expected
    noise = DistributedNoise(epsilon=1, delta=1e-5)
    coarse, fine = six(noise=noise, value_bits=3, dimension=100), six(noise=noise, value_bits=12, dimension=100)
    assert coarse.noise_inflation > 1.2 > 1.01 > fine.noise_inflation > 1 == six().noise_inflation
    for wrong in ({"clients": 0}, {"bits": 3, "clients": 10_000}, {"sigmas": 0.0}, {"noise_multiplier": np.nan}):
        with pytest.raises(vs.VeilsumError):
            vs.federated.noise_inflation(**({"clients": 10, "dimension": 10} | wrong))


def test_ctrl_c_ends_a_long_round() -> None:
    code = (
        "import numpy as np, veilsum as vs\n"
        "cfg = vs.federated.RoundConfig(clients=150, dimension=100_000, clip=1.0, corrupt=1, dropouts=1)\n"
        "updates = np.zeros((150, 100_000))\n"
        "print('go', flush=True)\n"
        "try:\n    vs.federated.simulate(updates, cfg)\n"
        "except KeyboardInterrupt:\n    print('stopped')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "go\n"
    time.sleep(0.3)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "stopped\n"
    assert time.monotonic() - begin < 30


def test_progress_and_long_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    simulate(rows(), six(), progress=True)
    assert "round" in capsys.readouterr().err


# ---- byte by byte


def people(n: int) -> list[vs.crypto.Identity]:
    return [vs.crypto.Identity.generate() for _ in range(n)]


def drive(clients: dict, server: vs.federated.Server, updates: dict, lost: dict[int, str] | None = None) -> vs.federated.Round:
    """Run every stage; ``lost`` as in simulate."""
    lost, to = lost or {}, dict.fromkeys(clients, b"")
    for number, stage in enumerate(STAGES):
        for i in to:
            if i in lost and STAGES.index(lost[i]) <= number:
                continue
            client = clients[i]
            if stage == "advertise":
                msg = client.advertise()
            elif stage == "upload":
                msg = client.upload(to[i], updates[i])
            else:
                msg = getattr(client, stage)(to[i])
            server.receive(i, msg)
        to = server.finish_stage()
    return server.result()


def test_stage_by_stage() -> None:
    cfg, ids, updates = six(), people(6), rows()
    roster = vs.crypto.PeerSet([i.peer for i in ids])
    names = {"session": b"s", "round": 3, "model": b"weights"}
    clients = {i: vs.federated.Client(cfg, ids[i], roster, i, **names) for i in range(6)}
    r = drive(clients, vs.federated.Server(cfg, roster, keep_masked=True, **names), dict(enumerate(updates)), {4: "upload"})
    assert r.survivors == [0, 1, 2, 3, 5] and set(r.masked) == set(r.survivors)
    np.testing.assert_allclose(r.sum, updates[r.survivors].sum(axis=0), atol=1e-3)
    with pytest.raises(vs.federated.ProtocolError, match="cannot follow"):
        clients[0].unmask(b"another")


def test_a_client_without_its_place_or_with_another_roster_is_refused() -> None:
    cfg, ids = six(), people(6)
    roster = vs.crypto.PeerSet([i.peer for i in ids])
    for client_id in (1, 6, -1, 2**40):
        with pytest.raises(vs.VeilsumError):
            vs.federated.Client(cfg, ids[0], roster, client_id)
    with pytest.raises(vs.VeilsumError, match="6 clients"):
        vs.federated.Server(cfg, roster=[i.peer for i in ids[:5]])


def test_snapshots_across_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSUM_STATE", str(tmp_path))
    cfg, ids, updates = six(noise=DistributedNoise(epsilon=5, delta=1e-5), value_bits=6), people(6), rows()
    roster = [i.peer for i in ids]
    clients = {i: vs.federated.Client(cfg, ids[i], roster, i) for i in range(6)}
    server = vs.federated.Server(cfg, roster)
    for i in clients:
        server.receive(i, clients[i].advertise())
    to = server.finish_stage()
    (tmp_path / "client").write_bytes(clients[1].snapshot())
    (tmp_path / "message").write_bytes(to[1])
    code = (
        "import sys, pathlib; from veilsum.federated import Client; d = pathlib.Path(sys.argv[1]);"
        "c = Client.restore((d / 'client').read_bytes()); m = c.share((d / 'message').read_bytes());"
        "(d / 'client').write_bytes(c.snapshot()); (d / 'answer').write_bytes(m)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "snapshot.key").stat().st_mode & 0o777 == 0o600
    clients[1] = vs.federated.Client.restore((tmp_path / "client").read_bytes())
    assert clients[1].state == "shared" and clients[1].share(to[1]) == (tmp_path / "answer").read_bytes()
    for i in clients:
        server.receive(i, clients[i].share(to[i]))
    to = server.finish_stage()
    before = clients[1].snapshot()
    sent = clients[1].upload(to[1], updates[1])
    for update in (updates[1], np.zeros(4)):
        with pytest.raises(vs.federated.ProtocolError, match="another copy"):
            vs.federated.Client.restore(before).upload(to[1], update)
    assert vs.federated.Client.restore(clients[1].snapshot()).upload(to[1], updates[1]) == sent
    key = vs.crypto.Key.generate()
    with pytest.raises(vs.federated.ProtocolError, match="does not open"):
        vs.federated.Client.restore(clients[1].snapshot(key=key))


def test_a_server_resumes_from_its_log(tmp_path: Path) -> None:
    cfg, ids, updates = six(), people(6), rows()
    roster, log = [i.peer for i in ids], tmp_path / "log"
    clients = {i: vs.federated.Client(cfg, ids[i], roster, i) for i in range(6)}
    to = dict.fromkeys(clients, b"")
    for stage in STAGES:
        for i, client in clients.items():
            msg = (
                client.advertise()
                if stage == "advertise"
                else client.upload(to[i], updates[i])
                if stage == "upload"
                else getattr(client, stage)(to[i])
            )
            server = vs.federated.Server(cfg, roster, log=log)
            assert server.stage == stage and (stage == "advertise" or server.messages == to)
            server.receive(i, msg)
            server.close()
            with open(log, "ab") as file:
                file.write(b"\0\0\0")  # killed in the middle of a record
        server = vs.federated.Server(cfg, roster, log=log)
        to = server.finish_stage()
        server.close()
    with vs.federated.Server(cfg, roster, log=log) as server:
        np.testing.assert_allclose(server.result().sum, updates.sum(axis=0), atol=1e-3)


def test_configurations_travel_between_processes() -> None:
    for cfg in [six(), six(unit="record", noise=DistributedNoise(epsilon=0.1, delta=1e-6, rounds=3))]:
        again = pickle.loads(pickle.dumps(cfg))
        assert again == cfg and repr(again) == repr(cfg)
    assert six() != six(clip=2.0)


def test_what_a_stranger_may_try() -> None:
    cfg, ids, updates = six(), people(6), rows()
    roster = [i.peer for i in ids]
    with pytest.raises(TypeError):
        simulate(np.array([[object()] * 4] * 6), cfg)
    with pytest.raises(TypeError):
        simulate([[1j] * 4] * 6, cfg)
    with pytest.raises(TypeError):
        six(clients="6")
    with pytest.raises(TypeError):
        six(clip="1")
    for n in (0, 1, 2, 2.5, None):
        with pytest.raises((vs.VeilsumError, TypeError)):
            six(clients=n)
    client, server = vs.federated.Client(cfg, ids[0], roster, 0), vs.federated.Server(cfg, roster)
    # Out of order, and with bytes that are nothing, garbage, or of another round.
    for call in (client.share, client.confirm, client.unmask, lambda m: client.upload(m, updates[0])):
        for message in (b"", b"\1" * 100):
            with pytest.raises(vs.federated.ProtocolError):
                call(message)
    with pytest.raises(vs.federated.ProtocolError):
        server.result()
    other = vs.federated.Client(six(clip=2.0), ids[0], roster, 0).advertise()
    late = vs.federated.Client(cfg, ids[0], roster, 0, round=1).advertise()
    for message in (other, late, b"", bytes(39), bytes(200)):
        with pytest.raises(vs.federated.ProtocolError):
            server.receive(0, message)
    advert = client.advertise()
    assert client.advertise() == advert
    for number in (6, -1, 2**40, 1.5):
        with pytest.raises(vs.VeilsumError):
            server.receive(number, advert)  # type: ignore[arg-type]
    with pytest.raises(vs.federated.RoundAborted):
        server.finish_stage()
    with pytest.raises(TypeError):
        client.share("text")  # type: ignore[arg-type]
    for data in (b"", b"x" * 500):
        with pytest.raises(vs.VeilsumError):
            vs.federated.Client.restore(data, key=vs.crypto.Key.generate())


def test_coins_in_python() -> None:
    def config(struck: int) -> RoundConfig:
        return RoundConfig(
            clients=120, dimension=1, clip=1.0, corrupt_fraction=0.02, dropout_fraction=0.02, struck=struck
        )  # fmt: skip

    ids = people(120)
    roster = [i.peer for i in ids]
    cfg = config(0)
    assert cfg.needs_beacon and pickle.loads(pickle.dumps(config(1))) == config(1) != cfg
    coins = [vs.federated.Coin(cfg, i, roster, session=b"s") for i in ids]
    commitments = {i: coin.commit() for i, coin in enumerate(coins)}
    openings = {i: coin.reveal(commitments) for i, coin in enumerate(coins)}
    # Client 7 withholds.
    with pytest.raises(vs.federated.ProtocolError, match="missing"):
        coins[0].beacon({i: o for i, o in openings.items() if i != 7})
    roster.pop(7), ids.pop(7), coins.pop(7)
    coins = [coin.again(config(1), roster) for coin in coins]
    commitments = {i: coin.commit() for i, coin in enumerate(coins)}
    openings = {i: coin.reveal(commitments) for i, coin in enumerate(coins)}
    assert len({coin.beacon(openings) for coin in coins}) == 1
    with pytest.raises(vs.federated.ProtocolError, match="96 bytes"):
        coins[0].beacon({0: b""})
    with pytest.raises(vs.VeilsumError):
        vs.federated.Coin(cfg, people(1)[0], roster, session=b"s")


# ---- the second implementation


def plain_peer(identity: Ed25519PrivateKey) -> vs.crypto.Peer:
    """A peer whose signing key is ours, certified by hand; its sealing keys are of no use here."""
    text = vs.crypto.Identity.generate().peer.to_text().removeprefix("veilsum-peer-")
    made = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    body = made[:1] + identity.public_key().public_bytes(*federated_client.RAW) + made[33:1281]
    domain = b"veilsum.peer.v1"
    signature = identity.sign(b"veilsum.signature.v1\0" + federated_client.opaque(domain) + body)
    encoded = base64.urlsafe_b64encode(body + signature).decode().rstrip("=")
    return vs.crypto.Peer.from_text("veilsum-peer-" + encoded)


def raw(peer: vs.crypto.Peer) -> bytes:
    text = peer.to_text().removeprefix("veilsum-peer-")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("kind", ["complete", "semi-honest", "malicious"])
def test_plain_python_clients_take_part(kind: str) -> None:
    if kind == "complete":
        cfg, beacon = six(max_weight=1), None
    else:
        cfg = RoundConfig(
            clients=120, dimension=4, clip=1.0, corrupt_fraction=0.02, dropout_fraction=0.03,
            malicious_server=kind == "malicious",
        )  # fmt: skip
        beacon = bytes(32) if cfg.needs_beacon else None
        assert cfg.neighbors < 119
    n, plain = cfg.clients, {0: Ed25519PrivateKey.generate(), 3: Ed25519PrivateKey.generate()}
    ids = people(n)
    roster = [plain_peer(plain[i]) if i in plain else ids[i].peer for i in range(n)]
    names = {"session": b"both", "round": 5, "model": b"m", "beacon": beacon}
    parameters = federated_client.Parameters.of(cfg)
    peer_ids = [sha256(raw(peer)).digest() for peer in roster]
    ctx = federated_client.context(parameters, peer_ids, b"both", 5, b"m", beacon)
    verifying = [raw(peer)[1:33] for peer in roster]
    clients: dict[int, object] = {
        i: federated_client.PlainClient(parameters, plain[i], verifying, i, ctx, beacon)
        if i in plain
        else vs.federated.Client(cfg, ids[i], roster, i, **names)
        for i in range(n)
    }
    updates = rows(n)
    integers = np.rint(updates * 32767).astype(int)
    given = {i: integers[i].tolist() if i in plain else updates[i] for i in range(n)}
    lost = {4: "upload"} | ({7: "confirm", 9: "unmask"} if n > 6 else {})
    r = drive(clients, vs.federated.Server(cfg, roster, **names), given, lost)
    np.testing.assert_allclose(r.sum * 32767, integers[r.survivors].sum(axis=0), atol=1e-3)


def test_shares_that_are_not_what_their_dealer_committed_to() -> None:
    class Liar(federated_client.PlainClient):
        def commitment(self, dealer: int, holder: int, secret: int, share: bytes) -> bytes:
            return super().commitment(dealer, holder, secret, bytes(32) if (dealer, holder) == (5, 0) else share)

    cfg, ids, identity = six(), people(6), Ed25519PrivateKey.generate()
    roster = [plain_peer(identity) if i == 5 else ids[i].peer for i in range(6)]
    parameters = federated_client.Parameters.of(cfg)
    ctx = federated_client.context(parameters, [sha256(raw(peer)).digest() for peer in roster], b"", 0, b"", None)
    liar = Liar(parameters, identity, [raw(peer)[1:33] for peer in roster], 5, ctx)
    clients = {i: vs.federated.Client(cfg, ids[i], roster, i) for i in range(5)} | {5: liar}
    server = vs.federated.Server(cfg, roster)
    for i, client in clients.items():
        server.receive(i, client.advertise())
    to = server.finish_stage()
    for i, client in clients.items():
        server.receive(i, client.share(to[i]))
    to = server.finish_stage()
    with pytest.raises(vs.federated.ProtocolError, match="client 5 dealt a share that is not the one it committed to"):
        clients[0].upload(to[0], np.zeros(4))
    clients[1].upload(to[1], np.zeros(4))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("low", [bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little")])
def test_keys_of_low_order_meet_no_mask_and_no_share(place: int, low: bytes) -> None:
    class Low(federated_client.PlainClient):
        def advertise(self) -> bytes:
            super().advertise()
            self.advert = self.advert[: 32 * place] + low + self.advert[32 * (place + 1) :]
            return self.send(1, self.advert)

    cfg, ids, identity = six(), people(6), Ed25519PrivateKey.generate()
    roster = [plain_peer(identity) if i == 5 else ids[i].peer for i in range(6)]
    parameters = federated_client.Parameters.of(cfg)
    ctx = federated_client.context(parameters, [sha256(raw(peer)).digest() for peer in roster], b"", 0, b"", None)
    clients = {i: vs.federated.Client(cfg, ids[i], roster, i) for i in range(5)}
    clients |= {5: Low(parameters, identity, [raw(peer)[1:33] for peer in roster], 5, ctx)}  # type: ignore[dict-item]
    server = vs.federated.Server(cfg, roster)
    for i, client in clients.items():
        server.receive(i, client.advertise())
    to = server.finish_stage()
    if place == 1:
        with pytest.raises(vs.federated.ProtocolError, match="client 5 advertised a public key of low order"):
            clients[0].share(to[0])
        return
    for i, client in clients.items():
        server.receive(i, client.share(to[i]))
    to = server.finish_stage()
    with pytest.raises(vs.federated.ProtocolError, match="client 5 advertised a public key of low order"):
        clients[0].upload(to[0], np.zeros(4))


@pytest.mark.parametrize("place", [0, 2])
def test_a_secret_that_is_not_the_one_advertised_names_its_dealer(place: int) -> None:
    """Never a silent wrong sum: a seed that was not committed to, and a mask key that was not published."""

    class Swapped(federated_client.PlainClient):
        def advertise(self) -> bytes:
            super().advertise()
            other = federated_client.PlainClient(parameters, identity, self.verifying, 5, ctx)
            other.advertise()
            self.advert = self.advert[: 32 * place] + other.advert[32 * place :][:32] + self.advert[32 * (place + 1) :]
            return self.send(1, self.advert)

    cfg, ids, identity = six(), people(6), Ed25519PrivateKey.generate()
    roster = [plain_peer(identity) if i == 5 else ids[i].peer for i in range(6)]
    parameters = federated_client.Parameters.of(cfg)
    ctx = federated_client.context(parameters, [sha256(raw(peer)).digest() for peer in roster], b"", 0, b"", None)
    clients: dict[int, object] = {i: vs.federated.Client(cfg, ids[i], roster, i) for i in range(5)}
    clients[5] = Swapped(parameters, identity, [raw(peer)[1:33] for peer in roster], 5, ctx)
    given = {i: [0] * 4 if i == 5 else np.zeros(4) for i in range(6)}
    lost = {5: "upload"} if place == 0 else {}
    with pytest.raises(vs.federated.RoundAborted, match="client 5 dealt shares that do not rebuild what it advertised"):
        drive(clients, vs.federated.Server(cfg, roster), given, lost)


def inverse(a: int) -> int:
    """a^(2^16 - 2) in GF(2^16)."""
    result = 1
    for _ in range(15):
        a = federated_client.times(a, a)
        result = federated_client.times(result, a)
    return result


def rebuilt(shares: list[tuple[int, bytes]]) -> bytes:
    """Lagrange interpolation at zero, from (point, share)."""
    total = [0] * 16
    for point, share in shares:
        weight = 1
        for other, _ in shares:
            if other != point:
                weight = federated_client.times(federated_client.times(weight, other), inverse(other ^ point))
        for i, element in enumerate(struct.unpack("<16H", share)):
            total[i] ^= federated_client.times(element, weight)
    return struct.pack("<16H", *total)


def test_what_server_and_colluders_see_is_uniform() -> None:
    """The server, with all it received, together with as many clients as may be corrupt.

    Client 5 works with the server, client 4 is lost after it shared. What is left of each honest vector, once every mask
    that they can know is taken away, is uniform, and so is the sum over every proper part of the honest; over all of them
    it is the sum of their updates.
    """
    d, n = 16_384, 6
    cfg = six(dimension=d)
    bits, identity = cfg.modulus_bits, Ed25519PrivateKey.generate()
    ids = people(n)
    roster = [plain_peer(identity) if i == 5 else ids[i].peer for i in range(n)]
    parameters = federated_client.Parameters.of(cfg)
    peer_ids = [sha256(raw(peer)).digest() for peer in roster]
    ctx = federated_client.context(parameters, peer_ids, b"", 0, b"", None)
    colluder = federated_client.PlainClient(parameters, identity, [raw(peer)[1:33] for peer in roster], 5, ctx)
    clients: dict[int, object] = {i: vs.federated.Client(cfg, ids[i], roster, i) for i in range(5)} | {5: colluder}
    updates = np.zeros((n, d))
    updates[:4, 0] = 0.25
    server, sent = vs.federated.Server(cfg, roster, keep_masked=True), {}

    class Watched:
        def receive(self, client: int, message: bytes) -> None:
            sent[message[2], client] = message
            server.receive(client, message)

        def finish_stage(self) -> dict[int, bytes]:
            return server.finish_stage()

        def result(self) -> vs.federated.Round:
            return server.result()

    given = {i: [0] * d if i == 5 else updates[i] for i in range(n)}
    r = drive(clients, Watched(), given, {4: "upload"})  # type: ignore[arg-type]
    assert r.survivors == [0, 1, 2, 3, 5]
    opened: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    for (kind, holder), message in sent.items():
        items = message[43:-64] if kind == 5 else b""
        for at in range(0, len(items), 37):
            dealer, secret = struct.unpack(">IB", items[at : at + 5])
            opened.setdefault((dealer, secret), []).append((holder + 1, items[at + 5 : at + 37]))
    assert sorted(opened) == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 0)]
    public = {client: sent[1, client][39:71] for client in range(n)}
    lost = X25519PrivateKey.from_private_bytes(rebuilt(opened[4, 1][: cfg.threshold]))
    assert lost.public_key().public_bytes(*federated_client.RAW) == public[4]

    def stream(key: bytes) -> np.ndarray:
        return np.array(federated_client.keystream(key, d, bits), np.uint64)

    left = {}
    for i in range(4):
        words = r.masked[i] - stream(federated_client.self_key(ctx, i, rebuilt(opened[i, 0][: cfg.threshold])))
        for other, key in ((4, lost), (5, colluder.mask)):
            shared = key.exchange(X25519PublicKey.from_public_bytes(public[i]))
            pair = federated_client.pair_key(
                "veilsum.federated.pair-mask.v1", ctx, shared, (i, public[i]), (other, public[other])
            )
            words = words - stream(pair)  # The lower number adds, and honest numbers are lower.
        left[i] = words % np.uint64(2**bits)
    whole = sum(left.values()) % np.uint64(2**bits)
    assert whole[0] == 4 * round(0.25 * 32767) and not whole[1:].any()
    for size in (1, 2, 3):
        for part in itertools.combinations(range(4), size):
            words = sum(left[i] for i in part) % np.uint64(2**bits)
            for cells in (words >> np.uint64(bits - 5), words % np.uint64(32)):
                counts = np.bincount(cells.astype(int), minlength=32)
                # 512 expected. Bernstein, 14 parts of 2 x 32 cells: one is off by 190 with probability below 1e-9 in all.
                assert np.abs(counts - d / 32).max() < 190


def test_vectors_are_what_the_second_implementation_says() -> None:
    path = Path(__file__).parent.parent / "vectors" / "federated.json"
    assert json.loads(path.read_text()) == federated_client.vectors()
