"""The addresses of an account's pages. Every page answers with and without a slash at its end, without a redirect."""

from django.urls import path, re_path

from gateway.dashboard import billing, billing_ledger, gallery, keys, overview, requests, usage, webhooks, welcome

app_name = "dashboard"
urlpatterns = [
    re_path(r"^dashboard/?$", overview.home, name="home"),
    re_path(r"^dashboard/get-started/?$", welcome.get_started, name="get_started"),
    path("dashboard/get-started/first-picture", welcome.first_picture, name="first_picture"),
    path("dashboard/get-started/first-picture-page", welcome.first_picture_page, name="first_picture_page"),
    re_path(r"^dashboard/keys/?$", keys.keys, name="keys"),
    path("dashboard/keys/new", keys.key_new, name="key_new"),
    path("dashboard/keys/<int:key_id>/roll", keys.key_roll_page, name="key_roll"),
    path("dashboard/keys/<int:key_id>/revoke", keys.key_revoke_page, name="key_revoke"),
    re_path(r"^dashboard/usage/?$", usage.usage, name="usage"),
    path("dashboard/usage.csv", usage.usage_csv, name="usage_csv"),
    re_path(r"^dashboard/requests/?$", requests.request_log, name="requests"),
    path("dashboard/requests/<int:generation_id>", requests.request_detail, name="request"),
    path("dashboard/requests/<int:generation_id>/cancel", requests.request_cancel, name="request_cancel"),
    re_path(r"^dashboard/gallery/?$", gallery.gallery, name="gallery"),
    path("dashboard/gallery.zip", gallery.gallery_zip, name="gallery_zip"),
    re_path(r"^dashboard/billing/?$", billing.billing, name="billing"),
    path("dashboard/billing/funds", billing.funds_add, name="funds_add"),
    path("dashboard/billing/funds/done", billing.funds_done, name="funds_done"),
    path("dashboard/billing/cancelled", billing.cancelled, name="billing_cancelled"),
    path("dashboard/billing/subscribe", billing.subscribe, name="subscribe"),
    path("dashboard/billing/plan/done", billing.plan_done, name="plan_done"),
    path("dashboard/billing/portal", billing.portal, name="billing_portal"),
    path("dashboard/billing/portal/back", billing.portal_back, name="billing_back"),
    path("dashboard/billing/recharge", billing.recharge, name="recharge"),
    path("dashboard/billing/limits", billing.limits, name="spend_limits"),
    path("dashboard/billing/invoices", billing.invoices, name="invoices"),
    re_path(r"^dashboard/billing/ledger/?$", billing_ledger.ledger, name="ledger"),
    path("dashboard/billing/ledger.csv", billing_ledger.ledger_csv, name="ledger_csv"),
    path("dashboard/billing/statements/<int:year>-<int:month>", billing_ledger.statement, name="statement"),
    re_path(r"^dashboard/webhooks/?$", webhooks.webhooks, name="webhooks"),
    path("dashboard/webhooks/<int:delivery_id>", webhooks.delivery, name="webhook"),
    path("dashboard/webhooks/<int:delivery_id>/resend", webhooks.delivery_resend, name="webhook_resend"),
    path("dashboard/webhooks/test", webhooks.test_send, name="webhook_test"),
    path("dashboard/webhooks/secret", webhooks.secret_rotate, name="webhook_rotate"),
    path("dashboard/webhooks/resume", webhooks.receiver_resume, name="webhook_resume"),
    re_path(r"^dashboard/team/?$", overview.team, name="team"),
    re_path(r"^dashboard/profile/?$", overview.profile, name="profile"),
    path("dashboard/account", overview.account_choose, name="account_choose"),
]
