"""Routes below /api/v1/."""

from django.urls import path

from apps.jobs.views import JobDetail, JobList, JobResult, JobRetry

app_name = "jobs"
urlpatterns = [
    path("jobs", JobList.as_view(), name="list"),
    path("jobs/<uuid:job_id>", JobDetail.as_view(), name="detail"),
    path("jobs/<uuid:job_id>/result", JobResult.as_view(), name="result"),
    path("jobs/<uuid:job_id>/retry", JobRetry.as_view(), name="retry"),
]
