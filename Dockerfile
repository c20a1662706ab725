# The image of streamsvc: `docker build -t streamsvc .`, or with podman. See docs/deployment.md.
#
# It runs as user 10001 with a read-only root file system; /data is the only folder that it writes to, besides /tmp.

FROM debian:bookworm-slim AS build
ARG PIP_CERT
ARG PIP_INDEX_URL
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv postgresql-client
COPY . /source
RUN python3 -m venv /opt/streamsvc \
    && /opt/streamsvc/bin/pip install --no-cache-dir --no-compile --require-hashes -r /source/deploy/requirements.txt \
    && /opt/streamsvc/bin/pip install --no-cache-dir --no-compile --no-deps --no-build-isolation /source \
    && /opt/streamsvc/bin/pip uninstall -y pip setuptools

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin streamsvc \
    && install --directory --owner streamsvc --group streamsvc --mode 700 /data /backups
COPY --from=build /opt/streamsvc /opt/streamsvc
COPY --from=build /usr/lib/postgresql/15/bin/pg_dump /usr/lib/postgresql/15/bin/pg_restore /usr/lib/postgresql/15/bin/
ENV PATH=/opt/streamsvc/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    STREAMSVC_ENV=production STREAMSVC_HOST=0.0.0.0 STREAMSVC_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python3", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"STREAMSVC_PORT\", 8000)}/livez', timeout=2)"]
CMD ["streamsvc", "serve"]
