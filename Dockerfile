# One image for all parts of an installation; docs/containers.md says how to build and run it.
#
# Where packages come from a mirror, its settings are secrets of the build, so that they get into no layer:
#   --secret id=apt.conf,src=FILE --secret id=pip.conf,src=FILE, and further files that these name in /run/secrets.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS runtime
RUN --mount=type=secret,id=apt.conf,mode=0444 --mount=type=secret,id=apt.sources,mode=0444 \
    --mount=type=secret,id=ca.crt,mode=0444 \
    [ ! -f /run/secrets/apt.conf ] || export APT_CONFIG=/run/secrets/apt.conf; \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/*.log /var/cache/ldconfig \
    # Nothing in a container becomes another user.
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

FROM runtime AS build
RUN --mount=type=secret,id=apt.conf,mode=0444 --mount=type=secret,id=apt.sources,mode=0444 \
    --mount=type=secret,id=ca.crt,mode=0444 \
    [ ! -f /run/secrets/apt.conf ] || export APT_CONFIG=/run/secrets/apt.conf; \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
# The packages stand in an environment without pip.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/strava-pipeline
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/container/build.txt deploy/container/runtime.txt /src/deploy/container/
# Nothing but files whose hashes are known.
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    [ ! -f /run/secrets/pip.conf ] || export PIP_CONFIG_FILE=/run/secrets/pip.conf; \
    locked="--require-hashes --no-deps --only-binary :all:" \
    && /build/bin/pip install $locked --requirement /src/deploy/container/build.txt \
    && /build/bin/pip --python /opt/strava-pipeline/bin/python install $locked \
        --requirement /src/deploy/container/runtime.txt
# What this installation needs besides, such as s3fs; it changes no version of the above.
ARG PACKAGES=""
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    [ ! -f /run/secrets/pip.conf ] || export PIP_CONFIG_FILE=/run/secrets/pip.conf; \
    [ -z "$PACKAGES" ] || { \
        /build/bin/pip --python /opt/strava-pipeline/bin/python freeze > /build/installed.txt \
        && /build/bin/pip --python /opt/strava-pipeline/bin/python install --constraint /build/installed.txt $PACKAGES; \
    }
COPY . /src
RUN /build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels /src \
    && /build/bin/pip --python /opt/strava-pipeline/bin/python install --no-index --no-deps /wheels/*.whl \
    && /build/bin/pip --python /opt/strava-pipeline/bin/python check \
    # A tenth of their size.
    && find /opt/strava-pipeline/lib \( -type d -name tests -o -name '*.a' \) -prune -exec rm -r {} +
COPY deploy/container/workspace.yaml /opt/strava-pipeline/

FROM runtime
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="strava-pipeline" \
      org.opencontainers.image.description="A SQL copy of athletes' Strava activities, kept by Dagster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# By number, so that Kubernetes sees that it is not root. Its home is no STRAVA_HOME, where a demo wants to be alone.
RUN groupadd --gid 10001 strava \
    && useradd --uid 10001 --gid strava --no-create-home --home-dir /tmp --shell /usr/sbin/nologin strava \
    && install --directory --owner strava --group strava --mode 0700 /var/lib/strava-pipeline
COPY --from=build /opt/strava-pipeline /opt/strava-pipeline
COPY deploy/container/entrypoint deploy/container/healthcheck /usr/local/bin/
ENV PATH=/opt/strava-pipeline/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STRAVA_HOME=/var/lib/strava-pipeline \
    CODE_SERVER_HOST=code-server \
    CODE_SERVER_PORT=4000
# Dagster reads a file .env of the folder in which it starts. Here is none.
WORKDIR /opt/strava-pipeline
USER 10001:10001
# What a signal ended has ended as it was told to.
ENTRYPOINT ["/usr/bin/tini", "-s", "-e", "143", "--", "/usr/local/bin/entrypoint"]
CMD ["--help"]
HEALTHCHECK --interval=60s --timeout=20s --start-period=120s --retries=3 CMD ["/usr/local/bin/healthcheck"]
