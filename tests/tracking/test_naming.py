"""How runs are called and tagged in MLflow."""

from orchestrator.tracking.naming import flatten_plan


def test_parameters_are_exact() -> None:
    """A drawn rate keeps every digit; whole and short numbers stay short."""
    plan = {
        "numbers": {
            "seed": 12345678,
            "data": {"label_noise": 0.2, "drop_last": False},
            "optimizer": {"backbone_lr": 0.0123456789012345, "weight_decay": 0.0},
            "limit_batches": None,
        },
        "setting": {"optimizer.lr": 0.0123456789012345, "optimizer.name": "sgd"},
    }

    assert flatten_plan(plan) == {
        "seed": "12345678",
        "data.label_noise": "0.2",
        "data.drop_last": "false",
        "optimizer.backbone_lr": "0.0123456789012345",
        "optimizer.weight_decay": "0",
        "limit_batches": "null",
        "optimizer.lr": "0.0123456789012345",
        "optimizer.name": "sgd",
    }
