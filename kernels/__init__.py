"""Triton kernels, installed as `fastgan.kernels`: one file per op, launchers only.

No autograd and no dispatch here; both live in `fastgan.ops` and `fastgan.dispatch`.
"""
