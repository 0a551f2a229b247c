#!/bin/sh
# Celery 5.7.0, Python 3.11: crontab(day_of_month=13, day_of_week=5) fires on Fridays that are the 13th, and on no other day.
# POSIX cron, crontab(5) and every crontab translator fire on each 13th and on each Friday: when both fields are
# restricted, either is enough. A line copied from a crontab into a Celery schedule therefore runs far less often: 1 time instead of 64 in 2027.
#
# Output seen, 2026-11-30:
#   2027: fires on 1 day(s); cron's rule: 64
#   2027-08-13
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check celery==5.7.0
"$folder/venv/bin/python" - <<'PYTHON'
import datetime as dt
import sys

from celery.schedules import crontab

clock = dt.datetime(2026, 12, 31, 23, 59, tzinfo=dt.timezone.utc)
schedule = crontab(minute=0, hour=0, day_of_month=13, day_of_week=5, nowfun=lambda: clock)
days = [dt.date(2027, 1, 1) + dt.timedelta(days=n) for n in range(365)]
fired = []
while True:
    clock += schedule.remaining_estimate(clock)
    clock = clock.replace(second=0, microsecond=0)
    if clock.year != 2027:
        break
    fired.append(clock.date())
    clock += dt.timedelta(minutes=1)
either = [day for day in days if day.day == 13 or day.isoweekday() == 5]
print(f"2027: fires on {len(fired)} day(s); cron's rule: {len(either)}")
print(*fired, sep="\n")
both = [day for day in days if day.day == 13 and day.isoweekday() == 5]
sys.exit(0 if fired == both else "This Celery reads the two fields in another way.")
PYTHON
