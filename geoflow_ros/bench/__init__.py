"""Measures the speed, memory and start of this package on this machine: `geoflow bench`.

`run.run_bench` is the whole; each other module measures one thing and can be used alone.
"""
