"""The pages that people see: paying, the portal, an invoice. Plain forms, usable by keyboard and without scripts."""

from billing.sandbox.pages.html import Page, message
from billing.sandbox.pages.views import serve_page

__all__ = ["Page", "message", "serve_page"]
