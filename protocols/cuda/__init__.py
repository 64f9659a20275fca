"""The same arithmetic on a CUDA device: bit for bit what the CPU computes.

All of it is torch's own operators, which run wherever their operands lie; so what a device computes
is tested on the CPU, and nothing here needs CUDA to be imported.
"""
