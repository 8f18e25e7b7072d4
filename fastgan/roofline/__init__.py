"""What the ops cost on paper: operations, least traffic, traffic of the kernels, bounds in time.

`calls` lists the calls of a network, a file per op models them, `table` puts them together and
`measured` adds times where there is a GPU. Kernels and networks are not run to count anything.
"""
