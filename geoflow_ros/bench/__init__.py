"""Speed, memory and start of this package on this machine: what `geoflow bench` measures, and of what it is made.

`run.run_bench` is the whole; each other module measures one thing and can be used alone.
"""
