"""The project's routes and the sample app's."""

from project.urls import urlpatterns as project_urlpatterns

urlpatterns = [*project_urlpatterns]
