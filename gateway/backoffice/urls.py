"""The addresses of the operator's console. Every view in it passes through access.staff_page."""

from django.urls import path, re_path

from gateway.backoffice import catalogue, customers, home, house, machines, notices, payments, requests, usage

app_name = "backoffice"
urlpatterns = [
    re_path(r"^console/?$", home.home, name="home"),
    path("console/usage", usage.usage, name="usage"),
    path("console/usage.csv", usage.usage_csv, name="usage_csv"),
    path("console/customers", customers.customers, name="customers"),
    path("console/customers/<int:account_id>", customers.customer, name="customer"),
    path("console/customers/<int:account_id>/grant", customers.customer_grant, name="customer_grant"),
    path("console/customers/<int:account_id>/plan", customers.customer_plan, name="customer_plan"),
    path("console/customers/<int:account_id>/limits", customers.customer_limits, name="customer_limits"),
    path("console/customers/<int:account_id>/suspend", customers.customer_suspend, name="customer_suspend"),
    path("console/customers/<int:account_id>/resume", customers.customer_resume, name="customer_resume"),
    path("console/customers/<int:account_id>/sign-out", customers.customer_sign_out, name="customer_sign_out"),
    path("console/customers/<int:account_id>/price", customers.customer_price, name="customer_price"),
    path(
        "console/customers/<int:account_id>/keys/<int:key_id>/revoke",
        customers.customer_key_revoke,
        name="customer_key_revoke",
    ),
    path("console/requests", requests.request_log, name="requests"),
    path("console/requests/<int:generation_id>", requests.request_detail, name="request"),
    path("console/webhooks", requests.webhooks, name="webhooks"),
    path("console/workers", machines.workers, name="workers"),
    path("console/workers/<path:name>/<slug:command>", machines.worker_command, name="worker_command"),
    path("console/queue", machines.queue, name="queue"),
    path("console/queue/act", machines.queue_act, name="queue_act"),
    path("console/models", catalogue.models, name="models"),
    path("console/models/<path:model_id>/publish", catalogue.model_publish, name="model_publish"),
    path("console/prices/<str:price_code>", catalogue.price, name="price"),
    path("console/money", house.money, name="money"),
    path("console/money/prove", house.audit_prove, name="audit_prove"),
    path("console/payments", payments.payments, name="payments"),
    path("console/payments/retry", payments.events_retry_parked, name="events_retry"),
    path("console/announcements", notices.announcements, name="announcements"),
    path("console/announcements/<int:announcement_id>/end", notices.announcement_stop, name="announcement_stop"),
    path("console/settings", notices.settings_page, name="settings"),
    path("console/staff-actions", house.records, name="records"),
    path("console/staff", house.staff, name="staff"),
]
