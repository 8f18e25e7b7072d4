"""What a user's machine can prove: every kernel against the specification, the same bits twice,
memory given back, and times. `suite` runs it, `report` writes it; `warmup` compiles ahead.

The test suite compares more and needs the source tree; this room is installed with the package.
"""
