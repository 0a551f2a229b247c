"""Routes below /api/v1/. Fixed words come before the id."""

from django.urls import path

from apps.articles.views import ArticleDetail, ArticleList

app_name = "articles"
urlpatterns = [
    path("articles", ArticleList.as_view(), name="list"),
    path("articles/<uuid:id>", ArticleDetail.as_view(), name="detail"),
]
