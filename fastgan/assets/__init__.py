"""Data that comes with the package. No code: find it with fastgan.data.shipped()."""
