"""Articles in the admin. Its forms use the serializer and the services of the API, so the same rules apply."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.forms import SimpleArrayField
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.articles.models import Article
from apps.articles.selectors import article_get, article_search_filter
from apps.articles.serializers import ArticleWriteSerializer
from apps.articles.services import article_create, article_delete, article_update, articles_delete

WRITTEN = ("title", "slug", "body", "summary", "tags", "published_at")


class ArticleForm(forms.ModelForm):
    """Accept what the API accepts. The hidden field ``expected_version`` detects changes made since the form was opened."""

    slug = forms.CharField(required=False, help_text="Leave empty to make it from the title.")
    tags = SimpleArrayField(forms.CharField(), required=False, help_text="Separated by commas.")
    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Article
        fields = WRITTEN
        help_texts = {"summary": "Leave empty to take it from the body.", "published_at": "Leave empty for a draft."}
        widgets = {"body": forms.Textarea(attrs={"rows": 20, "cols": 100})}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.instance._state.adding:
            self.initial["expected_version"] = self.instance.version

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        if not self.instance._state.adding and cleaned["expected_version"] != self.instance.version:
            raise forms.ValidationError(
                "Someone else has changed this article. Reload the page, then make your changes again.", code="changed"
            )
        given = {name: cleaned[name] for name in WRITTEN if name != "slug" or cleaned["slug"]}
        serializer = ArticleWriteSerializer(data={**given, "summary": given["summary"] or None})
        if not serializer.is_valid():
            for name, detail in serializer.errors.items():
                self.add_error(name if name in self.fields else None, _messages(detail))
            return cleaned
        self.values = serializer.validated_data
        return {**cleaned, **self.values, "summary": self.values["summary"] or ""}


@admin.register(Article)
class ArticleAdmin(admin.ModelAdmin):
    """Save and delete with the services, which clean values, count versions and invalidate caches."""

    form = ArticleForm
    readonly_fields = ("author", "created_at", "updated_at")
    list_display = ("title", "author", "published_at", "updated_at")
    list_filter = (("published_at", admin.EmptyFieldListFilter),)
    list_select_related = ("author",)
    list_per_page = 50
    show_full_result_count = False
    ordering = ("-id",)
    search_fields = ("title",)  # shows the search box; get_search_results uses the full-text index
    search_help_text = "Search for words in the title or body."

    def get_fields(self, request: HttpRequest, obj: Article | None = None) -> tuple[str, ...]:
        hidden = ("expected_version",) if obj is None or self.has_change_permission(request, obj) else ()
        return (*WRITTEN, "author", "created_at", "updated_at", *hidden)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Article]:
        match = request.resolver_match
        heavy = ("search", "body") if match and match.url_name == "articles_article_changelist" else ("search",)
        return super().get_queryset(request).defer(*heavy)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Article], search_term: str
    ) -> tuple[QuerySet[Article], bool]:
        return (queryset.filter(article_search_filter(search_term)) if search_term else queryset), False

    def save_model(self, request: HttpRequest, obj: Article, form: ArticleForm, change: bool) -> None:
        if change:
            stored = article_get(article_id=obj.pk)  # obj already has the form's values
            changes = {
                name: value
                for name, value in form.values.items()
                if name in form.changed_data and value != getattr(stored, name)
            }
            if changes:
                article_update(article=stored, expected=form.cleaned_data["expected_version"], changes=changes)
        else:
            obj.pk = article_create(author=request.user, **form.values).pk  # type: ignore[arg-type]  # the admin requires a user

    def delete_model(self, request: HttpRequest, obj: Article) -> None:
        article_delete(article=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Article]) -> None:
        articles_delete(articles=queryset)


def _messages(detail: Any) -> list[str]:
    """Return a serializer's errors of one field as a flat list. Errors in lists are nested."""
    if isinstance(detail, dict):
        return [f"{index}: {message}" for index, inner in detail.items() for message in _messages(inner)]
    return [str(message) for message in detail] if isinstance(detail, list) else [str(detail)]
