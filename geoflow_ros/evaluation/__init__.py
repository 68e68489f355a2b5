"""Measures how accurate the answers are: figures, synthetic pairs, reduced precisions, recorded drives, a baseline.

Nothing here imports torch, except the torch back end where that is what a bundle is measured with.
"""
