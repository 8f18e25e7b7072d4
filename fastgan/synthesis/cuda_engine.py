"""The engine for NVIDIA GPUs: a program captured as a CUDA graph for each batch size.

A replay starts all kernels at once, from inputs and into outputs that stay where they are. What
asks CUDA for anything is in `TorchCuda`, so that the rest runs where there is no GPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fastgan.synthesis.engine import LayerProfile, log_once
from fastgan.synthesis.programs import Program
from fastgan.synthesis.torch_engine import TorchEngine

MAX_GRAPHS = 4  # batch sizes that keep a graph
WARMUP_RUNS = 3  # before a capture: kernels compile, libraries choose algorithms and workspaces


class Cuda(Protocol):
    """What the engine needs of CUDA."""

    def active(self) -> AbstractContextManager[Any]:
        """The device as the current one."""

    def warm(self, run: Callable[[], None], times: int) -> None:
        """Run on a side stream, as capture demands, and wait for it."""

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record what `run` starts, without running it; calling the result replays it.

        Raises: RuntimeError when something in `run` cannot be captured.
        """

    def pinned(self, like: Tensor) -> Tensor:
        """An empty tensor in host memory that the device copies to directly."""

    def synchronize(self) -> None:
        """Wait for the current stream."""


class TorchCuda:
    """`Cuda` by torch.cuda; the graphs share one pool of memory, as no two run at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def active(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self._device)

    def warm(self, run: Callable[[], None], times: int) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(times):
                run()
        torch.cuda.current_stream().wait_stream(side)
        self.synchronize()

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate meanwhile: only what this one does must be capturable.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            run()
        return graph.replay

    def pinned(self, like: Tensor) -> Tensor:
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)

    def synchronize(self) -> None:
        torch.cuda.current_stream().synchronize()


@dataclass(frozen=True)
class _Graph:
    """One batch size: tensors that stay in place, and what goes from the one to the others."""

    inputs: list[Tensor]
    output: Tensor  # uint8 [N, H, W, C] on the device
    host: Tensor  # the same in pinned memory
    replay: Callable[[], None]


class CudaEngine(TorchEngine):
    """Replays captured graphs, of at most MAX_GRAPHS batch sizes; the least recently used goes.

    Where a capture fails, the engine renders without graphs from then on, and logs that once.

    Args:
        program: on the device.
        cuda: TorchCuda, or what stands in for it in a test.
    """

    name = "cuda-graph"

    def __init__(self, program: Program, cuda: Cuda) -> None:
        super().__init__(program)
        self._cuda = cuda
        self._graphs: OrderedDict[tuple[int, int], _Graph] = OrderedDict()
        self._captures = True

    def profile(self) -> list[LayerProfile]:
        """Time each layer by itself, outside of graphs; see `TorchEngine`."""
        with self._cuda.active():
            return super().profile()

    def _render(self, inputs: list[Tensor]) -> np.ndarray:
        with self._cuda.active():
            graph = self._graph_for(inputs)
            if graph is None:
                return super()._render(inputs)
            with torch.inference_mode():
                for static, given in zip(graph.inputs, inputs, strict=True):
                    static.copy_(given)
                graph.replay()
                graph.host.copy_(graph.output, non_blocking=True)
            self._cuda.synchronize()
            return graph.host.numpy().copy()  # the next call overwrites the host's memory

    def _graph_for(self, inputs: list[Tensor]) -> _Graph | None:
        key = (len(inputs[0]), len(inputs))  # the batch size, and whether noise is given
        if key in self._graphs:
            self._graphs.move_to_end(key)
        elif self._captures:
            graph = self._capture(inputs)
            if graph is not None:
                self._graphs[key] = graph
        while len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return self._graphs.get(key)

    def _capture(self, inputs: list[Tensor]) -> _Graph | None:
        with torch.inference_mode():
            static = [given.clone() for given in inputs]
        output = self._bytes(static)  # outside of the graphs' pool, which the next one reuses

        def run() -> None:
            with torch.inference_mode():
                output.copy_(self._bytes(static))

        self._cuda.warm(run, WARMUP_RUNS)
        try:
            replay = self._cuda.capture(run)
        except RuntimeError as error:
            self._captures, self.name = False, "cuda"
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log_once(f"synthesis: no CUDA graph, rendering is slower: {reason}")
            return None
        return _Graph(static, output, self._cuda.pinned(output), replay)
