"""Stage 1, what the author asked for: YAML text to a checked spec. Loads nothing heavy."""
