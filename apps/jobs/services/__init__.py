"""Writes of jobs. Other apps call the functions exported here; the modules below are for operators and workers."""

from apps.jobs.services.submission import job_cancel, job_retry, job_submit

__all__ = ["job_cancel", "job_retry", "job_submit"]
