"""All settings, read once from the environment. With an empty environment it is a complete, safe, local service.

Rules between settings are system checks (gateway/checks.py) with ids and hints; this module only reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import django_stubs_ext
import environ

from gateway.secrets import local_secret

django_stubs_ext.monkeypatch()  # ModelAdmin[User] and the like at run time.

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env", overwrite=False)

RUN_DIR = Path(env.str("RUN_DIR", default=str(BASE_DIR / ".run")))
RUN_DIR.mkdir(parents=True, exist_ok=True)

# --- who we are and where --------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or local_secret(RUN_DIR / "secret.key")
# Digests of API keys are keyed with this. Changing it invalidates every key, so it is apart from SECRET_KEY.
API_KEY_PEPPER = env.str("API_KEY_PEPPER", default="") or SECRET_KEY
PORT = env.int("PORT", default=8000)
PUBLIC_URL = env.str("PUBLIC_URL", default="")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
SITE_NAME = env.str("SITE_NAME", default="Lumen")
SITE_TAGLINE = env.str("SITE_TAGLINE", default="An image generation API that your code already speaks.")
# An address on this host, so that no page asks another one; empty shows the built-in mark.
SITE_LOGO_URL = env.str("SITE_LOGO_URL", default="")
# #rrggbb: one accent for both themes, or two (light,dark); and the bright mark. Empty keeps the built-in colours.
SITE_ACCENT = env.list("SITE_ACCENT", default=[])
SITE_SPARK = env.str("SITE_SPARK", default="")
SUPPORT_EMAIL = env.str("SUPPORT_EMAIL", default="")
API_KEY_PREFIX = env.str("API_KEY_PREFIX", default="img")
# Where the signing keys of leak reports (POST /security/leaked-keys) are published; empty closes that address.
LEAK_REPORT_KEYS_URL = env.str(
    "LEAK_REPORT_KEYS_URL", default="https://api.github.com/meta/public_keys/secret_scanning"
)

# --- the parts of the house ------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "gateway",
    "billing",
    "inference",
    "accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "gateway.apps.StaticFiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "django_htmx",
    "csp",
    "rest_framework",
    "drf_spectacular",
]

# For pages. The API's paths (/api/, /media/, /health/) run through a handler of their own: see gateway/wsgi.py.
MIDDLEWARE = [
    "gateway.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "gateway.middleware.LanguageEndMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gateway.middleware.LanguageMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = env.str("ROOT_URLCONF", default="gateway.urls")
WSGI_APPLICATION = "gateway.wsgi.application"
APPEND_SLASH = False

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "gateway.site.context.site",
                "gateway.dashboard.context.dashboard",
            ],
        },
    },
]

# --- the database ----------------------------------------------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{RUN_DIR / 'gateway.sqlite3'}")
DATABASES: dict[str, dict[str, Any]] = {"default": environ.Env.db_url_config(DATABASE_URL)}
_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    # A connection that closes last folds the log into the file: kept open, a call costs a fraction.
    _database["CONN_MAX_AGE"] = 60
    # Measured: 546 submits/s without a lock error, against 59/s with 166 errors on SQLite's defaults.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=134217728;",
    }
else:
    # A server that is gone without a word is noticed within a minute, instead of the system's quarter of an hour.
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        "tcp_user_timeout": 30_000,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        **_database.get("OPTIONS", {}),
    }
    # A bounded pool: threads that wait for a picture hold no connection, so few serve many.
    _database["OPTIONS"]["pool"] = {
        "min_size": env.int("DATABASE_POOL_MIN", default=1),
        "max_size": env.int("DATABASE_POOL_MAX", default=8),
        "timeout": env.int("DATABASE_POOL_TIMEOUT_S", default=10),
    }
    # What is prepared stays prepared on its connection; a pooler that hands connections from one to another forgets it.
    _database["OPTIONS"]["prepare_threshold"] = 0 if env.bool("DATABASE_PREPARE", default=True) else None
    _database["CONN_MAX_AGE"] = 0
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True
_database["ATOMIC_REQUESTS"] = False

# --- Redis, broker, storage ------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
BROKER_URL = env.str("BROKER_URL", default="") or REDIS_URL
STORAGE_URL = env.str("STORAGE_URL", default=f"file://{RUN_DIR / 'media'}")
MODEL_DIR = env.str("MODEL_DIR", default=str(BASE_DIR / "models"))
WEB_PROCESSES = env.int("WEB_PROCESSES", default=2 if REDIS_URL else 1)
WEB_THREADS = env.int("WEB_THREADS", default=320)
# How many calls of one process compute at the same moment. More than one, so that one does while another waits for the
# database; Python runs one thread at a time, so many would only wake each other.
WEB_CALLS_AT_ONCE = env.int("WEB_CALLS_AT_ONCE", default=3)
CACHES: dict[str, dict[str, Any]] = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

# --- people ----------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/dashboard"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "gateway.site.adapters.SiteAccountAdapter"
ACCOUNT_FORMS = {
    "signup": "accounts.forms.SignupForm",
    "login": "accounts.forms.LoginForm",
    "reset_password": "accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.forms.ResetPasswordKeyForm",
    "request_login_code": "accounts.forms.RequestLoginCodeForm",
    "confirm_email_verification_code": "accounts.forms.ConfirmEmailForm",
    "confirm_login_code": "accounts.forms.ConfirmLoginForm",
    "confirm_password_reset_code": "accounts.forms.ConfirmResetForm",
    "add_email": "accounts.forms.AddEmailForm",
    "change_password": "accounts.forms.ChangePasswordForm",
    "set_password": "accounts.forms.SetPasswordForm",
    "reauthenticate": "accounts.forms.ReauthenticateForm",
}
MFA_FORMS = {
    "authenticate": "accounts.forms.SecondStepForm",
    "activate_totp": "accounts.forms.ActivateAppForm",
    "add_webauthn": "accounts.forms.AddKeyForm",
    "edit_webauthn": "accounts.forms.RenameKeyForm",
}
ACCOUNT_SESSION_REMEMBER = True
# Known addresses get a mail instead of an error, so that nobody can ask which addresses have accounts here.
ACCOUNT_PREVENT_ENUMERATION = True
# Mails about changes of how somebody logs in: passwords, addresses, second factors, connected services.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
SIGNUP_OPEN = env.bool("SIGNUP_OPEN", default=True)
# Mail domains that may not sign up, in lower case: the operator's own list against throw-away addresses.
REFUSED_EMAIL_DOMAINS = frozenset(env.list("REFUSED_EMAIL_DOMAINS", default=[]))
# POSTs from one address (django-ratelimit); allauth's own limits stand behind them.
SIGNUP_RATE = env.str("SIGNUP_RATE", default="20/h")
LOGIN_RATE = env.str("LOGIN_RATE", default="30/m")
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
SOCIALACCOUNT_PROVIDERS = {
    name: {"APPS": [{"client_id": client_id, "secret": env.str(f"{name.upper()}_SECRET", default="")}]}
    for name in ("github", "google")
    if (client_id := env.str(f"{name.upper()}_CLIENT_ID", default=""))
}
# Only what the operator set up: they load an HTTP client of their own, five megabytes of a process without pages.
INSTALLED_APPS += [f"allauth.socialaccount.providers.{name}" for name in SOCIALACCOUNT_PROVIDERS]
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
MFA_TOTP_ISSUER = SITE_NAME
# The console opens only to staff with a second factor. Without PUBLIC_URL this is a service on somebody's own machine.
STAFF_SECOND_FACTOR = env.bool("STAFF_SECOND_FACTOR", default=bool(PUBLIC_URL))
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
# A mail that was lost is sent again without a new sign-up or log-in; allauth's limits hold for it.
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_LOGIN_BY_CODE_SUPPORTS_RESEND = True
ACCOUNT_UNIQUE_EMAIL = True
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG
EMAIL_CONFIG = env.email("EMAIL_URL", default=f"filemail:///{RUN_DIR / 'mail'}")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default=f"{SITE_NAME} <no-reply@localhost>")

# --- language, time, files -------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
# Pages ask for hashed names alone; to compress every file a second time is half of a first start.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "gateway.site.staticfiles.ModuleStaticFilesStorage"},
}

# --- the API ---------------------------------------------------------------------------------------------------
# A POST is answered within this many seconds: several clients give up at 30.
WAIT_TIMEOUT_S = env.float("WAIT_TIMEOUT_S", default=20.0)
# Threads of one web process that may wait for a result; the others keep admitting.
WAITING_PLACES = env.int("WAITING_PLACES", default=max(WEB_THREADS - 24, 4))
LEGACY_ERROR_STATUS = env.bool("LEGACY_ERROR_STATUS", default=False)
LEGACY_VALIDATION_OBJECT = env.bool("LEGACY_VALIDATION_OBJECT", default=False)
BASE64_OUTPUT = env.str("BASE64_OUTPUT", default="inline")
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=48 * 1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
PROMPT_BLOCKLIST = env.list("PROMPT_BLOCKLIST", default=[])
# Addresses inside these networks may be fetched for init_image and webhooks. Empty in production.
ALLOW_PRIVATE_ADDRESSES = env.list("ALLOW_PRIVATE_ADDRESSES", default=[])
ALLOW_HTTP_URLS = env.bool("ALLOW_HTTP_URLS", default=True)
OUTPUT_RETENTION_DAYS = env.int("OUTPUT_RETENTION_DAYS", default=30)
TEMP_LINK_TTL_S = 24 * 3600

# --- renders ---------------------------------------------------------------------------------------------------
LEASE_S = env.int("LEASE_S", default=45)
RENDER_ATTEMPTS_MAX = env.int("RENDER_ATTEMPTS_MAX", default=3)
# A generation that no worker could start within this time fails and is released.
GENERATION_EXPIRY_S = env.int("GENERATION_EXPIRY_S", default=3600)
# The largest model file that the console's import takes from a web address.
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", default=32 * 1024**3)
DEFAULT_MODEL_ID = env.str("DEFAULT_MODEL_ID", default="demo")

# --- payments --------------------------------------------------------------------------------------------------
BILLING_PROVIDER = env.str("BILLING_PROVIDER", default="")
STRIPE_API_KEY = env.str("STRIPE_API_KEY", default="")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="")
# Needs a tax origin and registrations in the Stripe account.
STRIPE_AUTOMATIC_TAX = env.bool("STRIPE_AUTOMATIC_TAX", default=False)
STRIPE_PROMOTION_CODES = env.bool("STRIPE_PROMOTION_CODES", default=False)
# Post-paid calls go to Stripe's meters, which invoice them.
USAGE_EXPORT = env.bool("USAGE_EXPORT", default=False)
# How long a subscription with an unpaid invoice keeps its plan.
PAST_DUE_GRACE_DAYS = env.int("PAST_DUE_GRACE_DAYS", default=7)

# --- security of pages -----------------------------------------------------------------------------------------
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
_https = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=_https)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000 if _https else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

# --- tools -----------------------------------------------------------------------------------------------------
# django-ratelimit refuses Django's local caches, because several processes would each count. Without REDIS_URL this
# service is one web process, so the local cache is exact; with REDIS_URL the check passes by itself.
SILENCED_SYSTEM_CHECKS = [] if REDIS_URL else ["django_ratelimit.E003", "django_ratelimit.W001"]
RATELIMIT_VIEW = "gateway.site.errors.too_many"
CSRF_FAILURE_VIEW = "gateway.site.errors.stale_form"
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    # A probe that says "not ready" is an answer, not an error of ours.
    "filters": {
        "no_probes": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: "/health/" not in record.getMessage(),
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["no_probes"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}
