"""The settings of a Django project with one database; its address comes by DATABASE_URL, as docs/clients.md has it."""
import os
from urllib.parse import parse_qsl, urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path[1:],
        "USER": _url.username,
        "PASSWORD": _url.password,
        "HOST": _url.hostname,
        "PORT": _url.port,
        "CONN_MAX_AGE": 60,
        "OPTIONS": dict(parse_qsl(_url.query)),  # sslmode, sslrootcert
    }
}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres", "shop"]
SECRET_KEY = "for tests only"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
