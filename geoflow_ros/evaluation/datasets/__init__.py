"""Recorded data sets: readers of labelled pairs, one a layout on disk, and what a bundle answers to them."""
