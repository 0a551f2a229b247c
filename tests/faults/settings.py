"""The sample service with short leases, so that a fault's whole story fits into a few seconds."""

from tests.sample.settings import *  # noqa: F403 - production, with other times

JOBS_LEASE_SECONDS = 4.0
JOBS_TICK_SECONDS = 0.5
JOBS_BACKOFF_SECONDS = 0.2
JOBS_SHUTDOWN_SECONDS = 3.0
JOBS_PER_USER = 10_000  # one stranger submits them all
