"""Routes below /api/v1/. Fixed names come before the id."""

from django.urls import path

from apps.articles.views import ArticleDetail, ArticleExports, ArticleImports, ArticleList, ArticleReports

app_name = "articles"
urlpatterns = [
    path("articles", ArticleList.as_view(), name="list"),
    path("articles/exports", ArticleExports.as_view(), name="exports"),
    path("articles/imports", ArticleImports.as_view(), name="imports"),
    path("articles/reports", ArticleReports.as_view(), name="reports"),
    path("articles/<uuid:id>", ArticleDetail.as_view(), name="detail"),
]
