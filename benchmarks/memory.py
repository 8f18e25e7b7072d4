"""What a synthesizer needs of a process's memory: measured in a process of its own."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

import fastgan
from benchmarks.nets import Net
from benchmarks.report import Row

STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")


def measure(net: Net) -> Row | None:
    """Return the bytes of a net, rendered by a new process with as many threads as this one.

    Returns: "resident", the peak of resident memory while a frame is made, after a warm-up and
        with the generator deleted, minus that before the synthesizer was built, without the
        generator's weights; "weights", as the engine stores them; "two_largest_activations". None
        where the system does not tell (it is Linux's /proc that does), or the engine does not.
    """
    if not (STATUS.exists() and os.access(RESET_PEAK, os.W_OK)):
        return None
    sizes = [net.resolution, net.channel_base, net.batch, net.channel_max, net.w_dim]
    command = [sys.executable, "-m", "benchmarks.memory", *map(str, sizes)]
    threads = ["--threads", str(torch.get_num_threads())]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([*command, *threads], cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"benchmarks: the memory of {net.name}: {done.stderr.strip()}")
    found: Row | None = json.loads(done.stdout.splitlines()[-1])
    return found


def _resident(key: str) -> int:
    """Bytes of VmRSS, or of VmHWM, the peak."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def _return_memory() -> None:
    """Give what nothing refers to back to the system, as far as the allocator can."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def render(net: Net) -> Row | None:
    """Build and render a net in this process; `measure` says what comes back."""
    generator, ws = net.build()
    tensors = [*generator.parameters(), *generator.buffers()]
    raw = sum(tensor.nbytes for tensor in tensors)
    del tensors
    _return_memory()
    before = _resident("VmRSS")
    synthesizer = fastgan.Synthesizer(generator, batch=net.batch)
    del generator
    synthesizer.warmup()
    _return_memory()
    RESET_PEAK.write_text("5")
    synthesizer.render_w(ws)
    peak = _resident("VmHWM")
    memory = getattr(synthesizer._engine, "memory", None)
    if memory is None:
        return None
    sizes = memory()
    return {
        "resident": peak - (before - raw),
        "weights": sizes["weights"],
        "two_largest_activations": sizes["two_largest_activations"],
    }


def main() -> None:
    """Print what `render` returns as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs=5, help="the fields of benchmarks.nets.Net")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(render(Net(*arguments.sizes))))


if __name__ == "__main__":
    main()
