"""How gunicorn serves streamsvc. What an operator may change is a STREAMSVC_ variable; `streamsvc config` lists them."""

from streamsvc.settings import Settings

_settings = Settings.from_env()

bind = f"{_settings.host}:{_settings.port}"
worker_class = "gthread"  # a password hash must not hold up everybody else
workers = _settings.workers
threads = _settings.threads
timeout = 60
graceful_timeout = 30
keepalive = 5
max_requests = 0
control_socket_disable = True
loglevel = _settings.log_level
