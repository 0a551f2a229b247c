"""validation (133): limits of requests, and the HTML that is allowed in rich text."""

from settings.env import ENVIRONMENT

VALIDATION_BODY_BYTES = 1024 * 1024  # of a body, unless the view's `bounds` say otherwise
# How much of an unread body is read and dropped before the response is sent, and how long to wait for the sender.
VALIDATION_DRAIN_SECONDS = 3
VALIDATION_DRAIN_BYTES = ENVIRONMENT["IMPORT_MAX_BYTES"] + 64 * 1024  # the largest body of any view
VALIDATION_JSON_DEPTH = 32
VALIDATION_JSON_MEMBERS = 20_000  # objects, arrays and values in one document

# Django's own limits for forms and uploads. They must not be smaller than those above: Django would answer with a page.
DATA_UPLOAD_MAX_MEMORY_SIZE = VALIDATION_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
DATA_UPLOAD_MAX_NUMBER_FILES = 10
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # larger uploads are written to disk
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# Rich text without scripts, styles, forms, frames and event handlers.
# fmt: off
VALIDATION_HTML_TAGS = frozenset({
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "div", "dl", "dt", "em", "figcaption",
    "figure", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s",
    "samp", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
})
# fmt: on
VALIDATION_HTML_ATTRIBUTES = {
    "*": {"lang", "title"},  # on all of them
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
VALIDATION_URL_SCHEMES = frozenset({"http", "https", "mailto"})
