"""Images per second and memory of our UNet, beside those of diffusers and of lucidrains' denoising-diffusion-pytorch.

Training is one step of a bare loop: noise added to the same random images, the squared error of the predicted noise,
backward, and the same fused Adam for all. Sampling is a batch by DDIM in 50 steps, by each library's own code:
ours through the model's ``sample``, diffusers' with its scheduler, as its DDIMPipeline does. All in float32, with
``torch.compile`` and without.

Every measurement is a process of its own, and the contenders take turns; the table gives medians over the turns, and
the last column, of images/s, of images/s of the processors' own time ("of work": steadier when other programs run) and
of memory, medians of the ratios within a turn. Multiplications are of one image's forward pass. Memory is the most
that a step holds over what is held between steps (weights and Adam's moments): of a CPU the resident set (Linux only),
of a GPU what was allocated. A library that cannot be imported is left out.

diffusers' UNet2DModel is the same network, except that all its GroupNorms have one number of groups. lucidrains' Unet
has the same widths and places of full attention, and otherwise its own design, which no argument changes: two blocks at
each resolution on either way, linear attention where there is no full one, RMSNorm in GroupNorm's place, a 7 x 7
convolution first.

    python benchmarks/diffusion.py                                             # the digits' network
    python benchmarks/diffusion.py --channels 3 --size 32 --width 64 --blocks 2 --attention 16 --batch 32
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.networks.unet import group_norm
from lightning_gen.types import SamplingOptions

STEPS = 50
WARM_UP = {"training": 3, "sampling": 1}
LEAST = 3
"""Untimed repetitions, and timed ones at least."""
MEASURES = ("images/s", "of work", "memory")
"""Of which the table gives ratios: images in a second, in a second of the processors' time, and bytes."""
HEAD = 64
"""Channels of an attention head, at most."""


def ours(options):
    model = DDPM(
        image_shape=(options.channels, options.size, options.size),
        width=options.width,
        multipliers=tuple(options.multipliers),
        blocks=options.blocks,
        attention=tuple(options.attention),
    ).to(options.device)
    model.sampling = SamplingOptions("ddim", steps=STEPS)
    return model.network.backbone, model.network.predict, lambda: model.sample(options.batch)


def diffusers(options):
    from diffusers import DDIMScheduler, UNet2DModel

    channels = [options.width * multiplier for multiplier in options.multipliers]
    places = ["Attn" if side in options.attention else "" for side in sides(options)]
    groups = group_norm(options.width).num_groups
    attending = [channels[-1], *(size for size, place in zip(channels, places, strict=True) if place)]
    network = UNet2DModel(
        sample_size=options.size,
        in_channels=options.channels,
        out_channels=options.channels,
        down_block_types=[f"{place}DownBlock2D" for place in places],
        up_block_types=[f"{place}UpBlock2D" for place in reversed(places)],
        block_out_channels=channels,
        layers_per_block=options.blocks,
        attention_head_dim=min(HEAD, *attending),
        norm_num_groups=groups,
        attn_norm_num_groups=groups,
        resnet_time_scale_shift="scale_shift",
    ).to(options.device)
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(STEPS)

    @torch.no_grad()
    def sample():
        images = torch.randn(options.batch, options.channels, options.size, options.size, device=options.device)
        for now in scheduler.timesteps:
            images = scheduler.step(network(images, now).sample, now, images).prev_sample
        return images

    return network, lambda noisy, times: network(noisy, times).sample, sample


def lucidrains(options):
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    network = Unet(
        options.width,
        dim_mults=tuple(options.multipliers),
        channels=options.channels,
        full_attn=tuple(side in options.attention for side in sides(options)),
        attn_dim_head=HEAD,
        attn_heads=tuple(max(1, options.width * multiplier // HEAD) for multiplier in options.multipliers),
        flash_attn=True,
    )
    diffusion = GaussianDiffusion(
        network, image_size=options.size, sampling_timesteps=STEPS, beta_schedule="linear", objective="pred_noise"
    ).to(options.device)
    return network, network, lambda: diffusion.sample(batch_size=options.batch)


CONTENDERS = {"ours": ours, "diffusers": diffusers, "lucidrains": lucidrains}


def sides(options):
    return [options.size // 2**i for i in range(len(options.multipliers))]


def measure(options):
    """One contender at one task, in this process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network, predict, sample = CONTENDERS[options.contender](options)
    images = torch.randn(options.batch, options.channels, options.size, options.size, device=options.device)
    times = torch.randint(1000, (options.batch,), device=options.device).float()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        predict(images, times)
    if options.compiled:
        network.compile()
    network.train(options.task == "training")
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)

    def train():
        noise = torch.randn_like(images)
        F.mse_loss(predict(0.6 * images + 0.8 * noise, times), noise).backward()
        optimizer.step()
        optimizer.zero_grad()

    job = train if options.task == "training" else sample
    for _ in range(WARM_UP[options.task]):
        job()
    held = start_of_peak(options.device)
    walls, works = [], []
    while len(walls) < LEAST or sum(walls) < options.seconds:
        wall, work = time.perf_counter(), time.process_time()
        job()
        if options.device == "cuda":
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        works.append(time.process_time() - work)
    found = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiplications": counter.get_total_flops() / 2 / options.batch,
        "images/s": options.batch / statistics.median(walls),
        "of work": options.batch / statistics.median(works),
        "memory": peak(options.device) - held,
    }
    print(json.dumps(found))


def start_of_peak(device):
    """Bytes held now; the peak is counted from here on."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform != "linux":
        return 0
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS
    return peak(device)


def peak(device):
    """The most bytes held since the start."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform != "linux":
        return float("nan")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measured(arguments, options, task, compiled, contender):
    """The same in a process of its own; None, and a line that says why, where it cannot be."""
    command = [sys.executable, __file__, *arguments, "--task", task, "--contender", contender]
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        command + ["--compiled"] * compiled, capture_output=True, text=True, env=surroundings, check=False
    )
    if done.returncode:
        print(f"{contender}, {task}{', compiled' * compiled}, is left out: {done.stderr.strip().splitlines()[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--multipliers", type=int, nargs="+", default=[1, 2, 2])
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--attention", type=int, nargs="*", default=[8], help="sides of the maps that have it")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement, at least")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--task", choices=WARM_UP, help="run only this, once, and print what was found")
    parser.add_argument("--contender", choices=CONTENDERS, default="ours", help="with --task: whom")
    parser.add_argument("--compiled", action="store_true", help="with --task: by torch.compile")
    options = parser.parse_args()
    if options.task:
        return measure(options)
    kinds = [(task, compiled) for compiled in ([False] if options.eager else [False, True]) for task in WARM_UP]
    found = {(*kind, name): [] for kind in kinds for name in CONTENDERS}
    for turn in range(options.turns):
        for kind in kinds:
            for name in CONTENDERS:
                if len(found[(*kind, name)]) == turn:
                    result = measured(sys.argv[1:], options, *kind, name)
                    found[(*kind, name)] += [result] if result else []
    for kind in kinds:
        report(options, kind, {name: found[(*kind, name)] for name in CONTENDERS if found[(*kind, name)]})
    return None


def report(options, kind, found):
    """One table; ratios are ours over theirs."""
    task, compiled = kind
    title = f"{task}{', compiled' * compiled}: {options.channels} x {options.size} x {options.size}, "
    title += f"width {options.width}, batch {options.batch}, {options.threads} threads, {options.device}"
    table = Table(title=title)
    for column in ("", "param.", "mult.", "images/s", "of work", "MiB", "ours / theirs"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, values in found.items():
        parameters, multiplications, rate, work, memory = (
            statistics.median(value[key] for value in values) for key in values[0]
        )
        pairs = list(zip(found.get("ours", []), values, strict=False)) if name != "ours" else []
        ratios = [statistics.median(own[key] / other[key] for own, other in pairs) for key in MEASURES if pairs]
        table.add_row(
            name,
            f"{parameters / 1e6:.2f} M",
            f"{multiplications / 1e6:.1f} M",
            f"{rate:.1f}",
            f"{work:.1f}",
            f"{memory / 2**20:.0f}",
            ", ".join(f"{ratio:.2f}" for ratio in ratios),
        )
    Console().print(table)


if __name__ == "__main__":
    run()
