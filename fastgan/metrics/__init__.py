"""Distances between sets of samples: pure functions of tensors. No generator is called here, but
for path lengths, which are about one."""
