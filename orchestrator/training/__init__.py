"""Stage 4, what each worker does: plain PyTorch, unaware of Ray, MLflow and pydantic."""
