# emr in a container: `docker build -t emr:latest .`, then `emr up`, examples/compose.yaml, or
#   docker run -d --name emr -p 127.0.0.1:3200:3200 -v emr:/data emr:latest
# (`docker logs emr` then shows the first key). LOCK=local adds the built-in model.

ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ARG LOCK=base
WORKDIR /src
COPY requirements requirements
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --no-compile \
    --require-hashes --target /opt/emr -r requirements/${LOCK}.txt
COPY pyproject.toml README.md LICENSE ./
COPY emr emr
# setuptools, which makes the wheel, is among the locked packages; no running emr needs it
RUN PYTHONPATH=/opt/emr python3 -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps \
        --no-build-isolation --wheel-dir /wheel . \
    && python3 -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-compile \
        --target /opt/emr /wheel/*.whl \
    && rm -rf /opt/emr/setuptools* /opt/emr/_distutils_hack /opt/emr/pkg_resources \
        /opt/emr/distutils-precedence.pth /opt/emr/bin \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/emr

FROM ${PYTHON}
LABEL org.opencontainers.image.title="emr, the Embeddings Router" \
    org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/emr /opt/emr
COPY packaging/docker/emr /usr/local/bin/emr
# keys and providers: the only place that is written, so the root may be read-only
RUN install -d -o 65532 -g 65532 -m 0700 /data
VOLUME /data
# ./config.toml is the first place that a configuration is looked for
WORKDIR /app
ENV HOME=/data EMR_SERVER_BIND=0.0.0.0:3200 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 3200
# whether the process serves: an outage at a provider must not have the router restarted
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["emr", "health", "--live"]
ENTRYPOINT ["emr"]
CMD ["serve"]
