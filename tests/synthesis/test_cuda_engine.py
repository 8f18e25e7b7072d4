"""What the CUDA engine does around graphs, with a stand-in for CUDA: nothing here runs on a GPU."""

import contextlib
import logging
from collections import Counter

import pytest
import torch

from fastgan.synthesis import engine
from fastgan.synthesis.cuda_engine import MAX_GRAPHS, WARMUP_RUNS, CudaEngine
from fastgan.synthesis.programs import program_of
from fastgan.synthesis.torch_engine import TorchEngine
from tests.synthesis.generators import levels, plain_generator, style_generator

CPU = torch.device("cpu")


class FakeCuda:
    """Writes down what is asked of it. A capture runs nothing; its replay does."""

    def __init__(self, error=None):
        self.error, self.events, self.is_active = error, [], False

    @contextlib.contextmanager
    def active(self):
        self.is_active = True
        try:
            yield
        finally:
            self.is_active = False

    def _note(self, event):
        assert self.is_active
        self.events.append(event)

    def warm(self, run, times):
        self._note("warm")
        for _ in range(times):
            run()

    def capture(self, run):
        self._note("capture")
        if self.error is not None:
            raise self.error
        return lambda: (self._note("replay"), run())

    def pinned(self, like):
        self._note("pinned")
        return torch.empty_like(like)

    def synchronize(self):
        self._note("synchronize")

    def counts(self):
        return Counter(self.events)


@pytest.fixture(scope="module")
def net():
    return style_generator()


def engines(net, cuda, mode="const"):
    """The engine on the stand-in, and the eager one to compare with."""
    program = program_of(net, CPU, "fp32", mode)
    return CudaEngine(program, cuda), TorchEngine(program)


def test_a_batch_size_is_captured_once_and_replayed(net):
    cuda = FakeCuda()
    engine, eager = engines(net, cuda)
    assert engine.name == "cuda-graph"
    for _ in range(3):
        ws = torch.randn(2, net.num_ws, 12)
        assert levels(engine.render_w(ws), eager.render_w(ws)) == 0
    first = ["warm", "capture", "pinned", "replay", "synchronize"]
    assert cuda.events == first + ["replay", "synchronize"] * 2


def test_inputs_and_outputs_stay_in_place(net):
    engine, _ = engines(net, FakeCuda())
    engine.render_w(torch.randn(2, net.num_ws, 12))
    (graph,) = engine._graphs.values()
    places = [t.data_ptr() for t in (*graph.inputs, graph.output, graph.host)]
    images = engine.render_w(torch.randn(2, net.num_ws, 12))
    (again,) = engine._graphs.values()
    assert again is graph
    assert [t.data_ptr() for t in (*graph.inputs, graph.output, graph.host)] == places
    assert images.ctypes.data != graph.host.data_ptr()  # the caller's copy
    kept = images.copy()
    engine.render_w(torch.zeros(2, net.num_ws, 12))
    assert levels(images, kept) == 0


def test_the_callers_tensors_are_not_the_graphs(net):
    engine, eager = engines(net, FakeCuda())
    ws = torch.randn(1, net.num_ws, 12)
    wanted = eager.render_w(ws)
    engine.render_w(ws)
    given = ws.clone()
    ws.zero_()
    assert levels(engine.render_w(given), wanted) == 0


def test_few_batch_sizes_keep_a_graph(net):
    cuda = FakeCuda()
    engine, eager = engines(net, cuda)

    def render(batch):
        ws = torch.randn(batch, net.num_ws, 12)
        assert levels(engine.render_w(ws), eager.render_w(ws)) == 0

    for batch in range(1, MAX_GRAPHS + 1):
        render(batch)
    assert cuda.counts()["capture"] == MAX_GRAPHS
    render(1)  # used last, so that 2 is the oldest now
    render(MAX_GRAPHS + 1)
    assert len(engine._graphs) == MAX_GRAPHS
    assert cuda.counts()["capture"] == MAX_GRAPHS + 1
    render(1)
    assert cuda.counts()["capture"] == MAX_GRAPHS + 1
    render(2)
    assert cuda.counts()["capture"] == MAX_GRAPHS + 2


def test_given_noise_has_a_graph_of_its_own(net):
    cuda = FakeCuda()
    engine, eager = engines(net, cuda)
    ws = torch.randn(1, net.num_ws, 12)
    for _ in range(2):
        noise = [
            torch.randn(1, 1, *shape) for shape in [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16)]
        ]
        assert levels(engine.render_w(ws, noise), eager.render_w(ws, noise)) == 0
        assert levels(engine.render_w(ws), eager.render_w(ws)) == 0
    assert cuda.counts()["capture"] == 2


@pytest.mark.parametrize("c_dim", [0, 3])
def test_plain_networks_are_captured_too(c_dim):
    cuda = FakeCuda()
    engine, eager = engines(plain_generator(c_dim), cuda)
    for _ in range(2):
        z, c = torch.randn(2, 16), torch.eye(3)[:2] if c_dim else None
        assert levels(engine.render_z(z, c), eager.render_z(z, c)) == 0
    assert cuda.counts()["replay"] == 2


def test_without_graphs_it_still_renders_and_says_so_once(net, caplog):
    engine.log_once.cache_clear()
    cuda = FakeCuda(RuntimeError("operation not permitted when stream is capturing\ndetails"))
    failing, eager = engines(net, cuda)
    with caplog.at_level(logging.WARNING, "fastgan"):
        for batch in (1, 1, 2):
            ws = torch.randn(batch, net.num_ws, 12)
            assert levels(failing.render_w(ws), eager.render_w(ws)) == 0
    assert failing.name == "cuda"
    assert cuda.counts()["capture"] == 1
    assert [record.message for record in caplog.records] == [
        "synthesis: no CUDA graph, rendering is slower: "
        "operation not permitted when stream is capturing"
    ]


def test_a_mistake_of_the_callers_is_not_taken_for_a_failed_capture(net):
    engine, _ = engines(net, FakeCuda(), mode="random")
    with pytest.raises(ValueError, match="needs the noise"):
        engine.render_w(torch.randn(1, net.num_ws, 12))
    assert engine.name == "cuda-graph"


def test_warmup_captures_batch_1(net):
    cuda = FakeCuda()
    engine, _ = engines(net, cuda, mode="random")
    runs = []
    warm = cuda.warm
    cuda.warm = lambda run, times: (runs.append(times), warm(run, times))
    engine.warmup()
    assert runs == [WARMUP_RUNS]
    assert len(engine._graphs) == 1
    assert {row.name for row in engine.profile()} >= {"b4.conv1", "b16.torgb"}
