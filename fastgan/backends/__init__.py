"""Adapters from tensors to kernels, one file per backend; imported by name, never here."""
