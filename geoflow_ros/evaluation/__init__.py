"""How good the answers are: figures, synthetic benchmarks, bag replay, pictures. No torch."""
