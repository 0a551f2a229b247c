"""Routes of jobs below /api/v1/."""

from django.urls import path

from apps.jobs.views import JobDetail, JobList, JobResult, JobRetry

app_name = "jobs"
urlpatterns = [
    path("jobs", JobList.as_view(), name="list"),
    path("jobs/<uuid:id>", JobDetail.as_view(), name="detail"),
    path("jobs/<uuid:id>/result", JobResult.as_view(), name="result"),
    path("jobs/<uuid:id>/retry", JobRetry.as_view(), name="retry"),
]
