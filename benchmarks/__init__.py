"""Benchmarks: fastgan's kernels against plain PyTorch and torch.compile, one room apart from the
package. `python -m benchmarks --help` runs them; timing.py holds the only clock."""
