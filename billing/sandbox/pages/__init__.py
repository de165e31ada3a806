"""The pages that people see: paying, the portal, an invoice. Plain HTML forms, usable by keyboard and without scripts."""

from billing.sandbox.pages.html import Page
from billing.sandbox.pages.views import serve_page

__all__ = ["Page", "serve_page"]
