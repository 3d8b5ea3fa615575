"""Stage 2, what will happen: a spec and the machines at hand become run plans, every value decided."""
