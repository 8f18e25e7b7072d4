"""Modules for users' own networks: layers with parameters, built on `fastgan.ops`."""
