"""The Celery application of ``celery -A project worker``. Its configuration is the settings named ``CELERY_…``."""

from settings.env import select_settings

select_settings()

from celery import Celery  # noqa: E402 - the settings module is chosen first
from django_structlog.celery.steps import DjangoStructLogInitStep  # noqa: E402 - as above
from kombu.utils.objects import cached_property  # noqa: E402 - as above


class Application(Celery):
    """Celery with the worker of `apps.jobs`, which is imported when a worker starts because it needs Django."""

    @cached_property
    def Worker(self) -> type:
        import django

        django.setup()
        from apps.jobs.worker import Worker

        return self.subclass_with_self(Worker)


app = Application("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["apps.jobs"])
app.steps["worker"].add(DjangoStructLogInitStep)
