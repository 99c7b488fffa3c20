"""Training steps per second with OpenMP's ways of waiting, on a quiet and on a busy machine.

Between two parallel loops, OpenMP's threads wait for each other in a spinning loop. If other processes use the same
cores, a thread that others wait for may not be running, and the rest spin through whole time slices. The benchmark
trains a DCGAN (32 x 32, width 32, batch 64) and an MLP (784-512-16-512-784, batch 100), each setting in a process of
its own, in turns, without and with competing processes. The table gives the medians of steps per second.

    python benchmarks/threads.py --turns 5               # on a machine without other jobs
    python benchmarks/threads.py --turns 3 --busy 0      # on one that is busy already
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time

SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "spin 100000": {"GOMP_SPINCOUNT": "100000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "1 thread": {"OMP_NUM_THREADS": "1"},
}
"""Environment variables; KMP_BLOCKTIME is that of Intel's OpenMP, GOMP_SPINCOUNT that of GNU's, which PyTorch has."""
NAMES = {variable for setting in SETTINGS.values() for variable in setting} | {"KMP_BLOCKTIME"}


def steps_per_second(task: str, seconds: float) -> float:
    """Train for some seconds, after three steps."""
    import torch
    from torch.nn import functional as F

    from lightning_gen.networks.mlp import mlp

    torch.manual_seed(0)
    if task == "MLP":
        images = torch.rand(100, 784)
        networks = [torch.nn.Sequential(mlp([784, 512, 16]), mlp([16, 512, 784]))]

        def losses():
            yield F.binary_cross_entropy_with_logits(networks[0](images), images)
    else:
        from lightning_gen.models.gans.dcgan import DCGAN

        model = DCGAN((1, 32, 32), width=32)
        images = torch.rand(64, 1, 32, 32)
        networks = [model.discriminator, model.generator]

        def losses():
            fakes = model.generator(torch.randn(64, 100))
            yield (
                F.softplus(-model.discriminator(images)).mean() + F.softplus(model.discriminator(fakes.detach())).mean()
            )
            yield F.softplus(-model.discriminator(fakes)).mean()

    optimizers = [torch.optim.Adam(network.parameters(), fused=True) for network in networks]
    steps, start = -3, time.perf_counter()
    while steps < 3 or time.perf_counter() - start < seconds:
        if steps == 0:
            start = time.perf_counter()
        for optimizer, loss in zip(optimizers, losses(), strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        steps += 1
    return steps / (time.perf_counter() - start)


@contextlib.contextmanager
def competitors(num: int):
    """Run ``num`` processes that only compute."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(num)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measure each setting in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of a measurement")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2], help="numbers of competing processes")
    parser.add_argument("--tasks", nargs="+", default=["DCGAN", "MLP"], choices=["DCGAN", "MLP"])
    parser.add_argument("--measure", choices=["DCGAN", "MLP"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(steps_per_second(options.measure, options.seconds))
        return
    surroundings = {name: value for name, value in os.environ.items() if name not in NAMES}
    for task in options.tasks:
        for busy in options.busy:
            rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
            for _ in range(options.turns):
                for name, setting in SETTINGS.items():
                    command = [sys.executable, __file__, "--measure", task, "--seconds", str(options.seconds)]
                    with competitors(busy):
                        done = subprocess.run(
                            command, check=True, capture_output=True, text=True, env=surroundings | setting
                        )
                    rates[name].append(float(done.stdout))
                    print(f"{task}, {busy} competing processes, {name}: {done.stdout.strip()[:6]}", flush=True)
            medians = {name: statistics.median(values) for name, values in rates.items()}
            print(f"medians of {task}, {busy} competing processes: ", end="")
            print(", ".join(f"{name} {value:.2f} steps/s" for name, value in medians.items()), flush=True)


if __name__ == "__main__":
    main()
