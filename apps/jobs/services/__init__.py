"""The writes of the ledger. What other apps call is here; claims and the relay are for workers."""

from apps.jobs.services.submission import job_cancel, job_retry, job_submit

__all__ = ["job_cancel", "job_retry", "job_submit"]
