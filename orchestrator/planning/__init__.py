"""Stage 2, what will happen: a spec and the machines become plans, every value decided."""
