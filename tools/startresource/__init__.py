"""manage.py startresource: generates an app, or another resource in one, from a line that lists its fields.

``specification`` parses the line, ``surroundings`` checks it against the project, ``rendering`` makes the files, ``registration``
edits the lists of apps, and ``staging`` tries everything in a copy before it puts the files in place.
"""
