"""What holds for every test."""

from hypothesis import settings

# A busy machine is not a finding: an example that takes long is left to pytest-timeout.
settings.register_profile("mailqueue", deadline=None)
settings.load_profile("mailqueue")

pytest_plugins = ["mailqueue.testing.fixtures", "tests.support.outboxes"]
