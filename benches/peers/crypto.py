"""``make bench-crypto``: sealing by veilsum beside pyca/cryptography, libsodium, OpenSSL, AWS-LC and HPKE alone.

Every line is the best of several runs in one go of this script; ratios are to the peer of the same go. Each peer in
Python has a virtual environment of its own under ``.venv-peers``, and so has our package built without ``fast``. The
pipe carries 1 GiB, or 10 GiB where ``VEILSUM_DEEP`` is set.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from environment import HOME, ROOT, interpreter

HERE = Path(__file__).resolve().parent
SIZE = 64 << 20


def rate(work: Callable[[], object]) -> float:
    """GB/s over 64 MiB: the best of a second's runs, seven at least."""
    times: list[float] = []
    while len(times) < 7 or sum(times) < 1:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return SIZE / min(times) / 1e9


def ours() -> dict[str, float]:
    """Our package, as this interpreter has it."""
    from veilsum import crypto

    key, data = crypto.Key.generate(), os.urandom(SIZE)
    sealed, opened = bytearray(crypto.Key.sealed_length(SIZE)), bytearray(SIZE)
    figures = {}
    for threads in (1, 2):
        figures[f"seal {threads}"] = rate(lambda t=threads: key.seal_into(data, sealed, context=b"", threads=t))  # type: ignore[misc]
        figures[f"open {threads}"] = rate(lambda t=threads: key.open_into(sealed, opened, context=b"", threads=t))  # type: ignore[misc]
    figures["seal at once"] = rate(lambda: key.seal(data, context=b"", threads=2))
    assert opened == data
    return figures


def pyca() -> dict[str, float]:
    """pyca/cryptography."""
    from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
    from cryptography.fernet import Fernet

    key, data = Cobblestone256Encryptor.generate_key(), os.urandom(SIZE)
    buffer, back = bytearray(SIZE + SIZE // 512), bytearray(SIZE + SIZE // 512)
    written = 0

    def seal() -> None:
        nonlocal written
        encryptor = Cobblestone256Encryptor(key, b"")
        written = encryptor.update_into(data, buffer)
        end = encryptor.finalize()
        buffer[written : written + len(end)] = end
        written += len(end)

    def open_() -> None:
        decryptor = Cobblestone256Decryptor(key, b"")
        count = decryptor.update_into(memoryview(buffer)[:written], back)
        end = decryptor.finalize()
        back[count : count + len(end)] = end

    def seal_at_once() -> bytes:
        encryptor = Cobblestone256Encryptor(key, b"")
        return bytes(encryptor.update(data) + encryptor.finalize())

    figures = {"seal": rate(seal), "open": rate(open_), "seal at once": rate(seal_at_once)}
    assert back[:SIZE] == data
    fernet = Fernet(Fernet.generate_key())
    start = time.perf_counter()
    fernet.encrypt(data)
    figures["fernet"] = SIZE / (time.perf_counter() - start) / 1e9
    return figures


def pynacl() -> dict[str, float]:
    """libsodium's secretstream, 64 KiB at a time."""
    from nacl import bindings

    key, data = bindings.crypto_secretstream_xchacha20poly1305_keygen(), os.urandom(SIZE)

    def seal() -> None:
        state = bindings.crypto_secretstream_xchacha20poly1305_state()
        bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
        for at in range(0, SIZE, 1 << 16):
            bindings.crypto_secretstream_xchacha20poly1305_push(state, data[at : at + (1 << 16)])

    return {"seal": rate(seal)}


def default_backend() -> Path:
    """The interpreter of an environment with our package on its default backend, in Rust alone."""
    wheels = HOME / "default-backend-wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    subprocess.run(["maturin", "build", "--quiet", "--release", "--no-default-features", "--out", wheels,
                    "--manifest-path", ROOT / "py-bindings" / "Cargo.toml"], check=True)
    python = interpreter("default_backend")
    wheel = next(wheels.glob("*.whl"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel], check=True)
    return python


def figures(python: Path | str, work: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What ``work`` measures in a process of that interpreter."""
    done = subprocess.run([python, __file__, work.__name__], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def rust(*arguments: str) -> dict[str, float]:
    """Figures that a Rust program prints as ``name value unit``."""
    done = subprocess.run(["cargo", "run", "--quiet", "--release", *arguments], check=True, cwd=ROOT,
                          capture_output=True, text=True)
    return {name: float(value) for name, value, _unit in map(str.split, done.stdout.splitlines())}


def openssl() -> float:
    """``openssl speed`` at 16 KiB, in GB/s."""
    done = subprocess.run(["openssl", "speed", "-seconds", "2", "-bytes", "16384", "-evp", "aes-256-gcm"],
                          check=True, capture_output=True, text=True)
    found = re.search(r"AES-256-GCM\s+([\d.]+)k", done.stdout, re.IGNORECASE)
    assert found, done.stdout
    return float(found.group(1)) * 1000 / 1e9


PIPE = """
import sys
from pathlib import Path
from veilsum import crypto

def memory(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

mode, size = sys.argv[1], int(sys.argv[2])
key = crypto.Key.load(sys.argv[3], passphrase="bench")
Path("/proc/self/clear_refs").write_text("5")  # forget the peak: Argon2 took 64 MiB to load the key
before = memory("VmRSS")
if mode == "seal":
    with key.writer(sys.stdout.buffer, context=b"") as out:
        piece = bytes(1 << 20)
        for _ in range(size >> 20):
            out.write(piece)
else:
    reader, count = key.reader(sys.stdin.buffer, context=b""), 0
    while piece := reader.read(1 << 20):
        count += len(piece)
    assert count == size
print(memory("VmHWM") - before, file=sys.stderr)
"""


def pipe(size: int) -> tuple[int, float]:
    """Most KiB that either end of a pipe took above what it had, and GB/s."""
    from veilsum import crypto

    path = HOME / "bench.key"
    crypto.Key.generate().save(path, passphrase="bench")
    start = time.perf_counter()
    ends = [sys.executable, "-c", PIPE]
    seal = subprocess.Popen([*ends, "seal", str(size), str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    open_ = subprocess.run([*ends, "open", str(size), str(path)], stdin=seal.stdout, stderr=subprocess.PIPE, check=True)
    assert seal.stderr is not None
    sealed = seal.stderr.read()
    assert seal.wait() == 0
    path.unlink()
    return max(int(sealed), int(open_.stderr)), size / (time.perf_counter() - start) / 1e9


def main() -> None:
    """Run everything and print one table."""
    pyca_python = interpreter("pyca")
    pynacl_python = interpreter("pynacl")
    default_python = default_backend()
    raw_aws = ("--manifest-path", str(HERE / "aws_lc" / "Cargo.toml"), "--target-dir", str(ROOT / "target" / "aws_lc"))
    for built in (("-p", "veilsum-benches"), ("-p", "veilsum-benches", "--features", "fast"), raw_aws):
        subprocess.run(["cargo", "build", "--quiet", "--release", *built], check=True, cwd=ROOT)

    base = rust("-p", "veilsum-benches", "--", "crypto")
    fast = rust("-p", "veilsum-benches", "--features", "fast", "--", "crypto")
    aws, ssl = rust(*raw_aws)["raw_aws_lc_16k"], openssl()
    peer, sodium = figures(pyca_python, pyca), figures(pynacl_python, pynacl)
    wheels = {"default": figures(default_python, ours), "fast": figures(sys.executable, ours)}

    def line(work: str, value: float, against: str, reference: float, target: str, unit: str = "GB/s") -> None:
        ratio = value / reference
        print(f"| {work} | {value:.2f} {unit} | {against} {reference:.2f} {unit} | {ratio:.2f} | {target} |")

    print("| work | ours | peer | ratio | target |\n|---|---|---|---|---|")
    targets = {("default", 1): ">= 2", ("default", 2): ">= 4", ("fast", 1): "", ("fast", 2): ">= 8"}
    for what in ("seal", "open"):
        for (backend, threads), target in targets.items():
            plural = "thread" if threads == 1 else "threads"
            line(f"{what} 64 MiB from Python into a buffer, {backend}, {threads} {plural}",
                 wheels[backend][f"{what} {threads}"], "pyca update_into()", peer[what], target)
    for backend, wheel in wheels.items():
        line(f"seal 64 MiB from Python to new bytes, {backend}, 2 threads", wheel["seal at once"],
             "pyca update() + finalize()", peer["seal at once"], "")
    best = wheels["fast"]["seal 2"]
    line("seal, fast, 2 threads", best, "libsodium secretstream", sodium["seal"], "")
    line("seal, fast, 2 threads", best, "Fernet", peer["fernet"], "")
    for what in ("stream_seal", "stream_open"):
        name = f"{what.replace('_', ' ')}, Rust, one core"
        line(f"{name}, fast", fast[f"{what}_1"], "openssl speed", ssl, ">= 1.2")
        line(f"{name}, fast", fast[f"{what}_1"], "raw aws-lc-rs", aws, ">= 0.6")
        line(f"{name}, default", base[f"{what}_1"], "raw aes-gcm", base["raw_aes_gcm_16k"], ">= 0.85")
    alone, signature = base["hpke_alone_100"], base["sign_200"]
    line("seal 100 bytes to one recipient", base["seal_to_100"], "hpke alone and a signature", alone + signature,
         f"<= {(1.3 * alone + signature) / (alone + signature):.2f}", "us")
    print(f"| overhead, one recipient | {base['seal_to_overhead']:.0f} bytes and 16 for each 16 KiB (0.098 %) | | "
          "| <= 1.4 KB and 0.11 % |")
    size = (10 << 30) if "VEILSUM_DEEP" in os.environ else (1 << 30)
    extra, speed = pipe(size)
    print(f"| {size >> 30} GiB through a pipe, seal and open | {extra} KiB above the interpreter at the peak, "
          f"{speed:.2f} GB/s | | | <= 16,384 KiB |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "pyca": pyca, "pynacl": pynacl}[sys.argv[1]]()))
    else:
        main()
