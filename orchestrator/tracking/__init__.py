"""Stage 5, what happened: a journal on the driver's disk, replayed to MLflow."""
