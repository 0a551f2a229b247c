"""validation (133): how much a request may hold, and which HTML is text."""

from settings.env import ENVIRONMENT

VALIDATION_BODY_BYTES = 1024 * 1024  # of a body, where the view's `bounds` do not say otherwise
# How much of a body that nobody read is read and dropped before the answer leaves, and for how long a sender is waited for.
VALIDATION_DRAIN_SECONDS = 3
VALIDATION_DRAIN_BYTES = ENVIRONMENT["IMPORT_MAX_BYTES"] + 64 * 1024  # the largest that a view takes
VALIDATION_JSON_DEPTH = 32
VALIDATION_JSON_MEMBERS = 20_000  # objects, arrays and values in one document

# Django's own bounds, for forms and uploads. Bodies are bounded above; Django must not refuse a smaller one with its own page.
DATA_UPLOAD_MAX_MEMORY_SIZE = VALIDATION_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
DATA_UPLOAD_MAX_NUMBER_FILES = 10
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # a larger upload is spooled to disk
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# Rich text: what an author may use. Scripts, styles, forms, frames and event handlers are not in it.
# fmt: off
VALIDATION_HTML_TAGS = frozenset({
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "div", "dl", "dt", "em", "figcaption",
    "figure", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s",
    "samp", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
})
# fmt: on
VALIDATION_HTML_ATTRIBUTES = {
    "*": {"lang", "title"},  # on any of them
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
VALIDATION_URL_SCHEMES = frozenset({"http", "https", "mailto"})
