FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE config.example.toml ./
COPY deploy deploy
COPY migrations migrations
COPY mailqueue mailqueue
RUN python -m venv /opt/mailqueue && /opt/mailqueue/bin/pip install --no-cache-dir '.[fast,postgres]'

FROM python:3.13-slim
# Fixed numbers, so that a volume belongs to the same user and group in every container.
RUN groupadd --gid 2525 mailqueue \
    && useradd --uid 2525 --gid 2525 --no-create-home --home-dir /var/lib/mailqueue \
        --shell /usr/sbin/nologin mailqueue \
    && install --directory --owner=2525 --group=2525 --mode=2770 /var/lib/mailqueue
COPY --from=build /opt/mailqueue /opt/mailqueue
ENV PATH=/opt/mailqueue/bin:$PATH PYTHONUNBUFFERED=1
USER 2525:2525
VOLUME /var/lib/mailqueue
# SIGTERM ends it in order; give `docker stop` the time ([daemon] drain) with --stop-timeout.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["mailqueue", "check", "--warn", "oldest=off,failed=off,doubt=off,paused=off,heartbeat=off,disk=off,log=off", "--crit", "oldest=off,failed=off,doubt=off,paused=off,disk=off,log=off,heartbeat=2m"]
ENTRYPOINT ["mailqueue"]
CMD ["run", "--config", "/etc/mailqueue/config.toml"]
