"""What all tests share: how Hypothesis draws its examples."""

from hypothesis import HealthCheck, settings

# The same examples on every machine, and no limit of time: a busy one is no mistake of ours.
settings.register_profile(
    "orchestrator",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("orchestrator")
