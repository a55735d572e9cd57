"""What all tests share: hypothesis judges what it finds, not how long a loaded machine takes for it."""

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
