"""Django's settings: those of an API without a browser's sessions, with persistent connections."""

from bench.peers.viewer import DATABASE, PRAGMAS

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE,
        "CONN_MAX_AGE": None,
        "OPTIONS": {"init_command": ";".join(f"PRAGMA {pragma}" for pragma in PRAGMAS)},
    }
}
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["rest_framework", "bench.peers.django_rest"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
ROOT_URLCONF = "bench.peers.django_rest.views"
SECRET_KEY = "not used: nothing is signed"
TIME_ZONE = "UTC"
USE_TZ = True
