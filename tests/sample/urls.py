"""The project's routes and the sample app's."""

from project.urls import handler400, handler403, handler404, handler500
from project.urls import urlpatterns as project_urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [*project_urlpatterns]
