"""Whether the machines could train: what is looked at on each, and what it means."""
