"""manage.py startresource: an app, or another resource in one, written from a line that names its fields.

``specification`` reads the line, ``surroundings`` holds it against what is there, ``rendering`` makes the files, ``registration``
edits the lists that name an app, ``staging`` tries all of it in a copy and puts it in place at once.
"""
