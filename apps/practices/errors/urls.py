"""Routes of the pages about problem types."""

from django.urls import path

from apps.practices.errors.views import page_style, problem_index, problem_type

urlpatterns = [
    path("problems", problem_index, name="problem-index"),
    path("problems/page.css", page_style, name="problem-style"),
    path("problems/<slug:slug>", problem_type, name="problem-type"),
]
