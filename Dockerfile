# Pages, then the program with the pages inside, then an image with nothing else in it.
# CI builds it from other base images with other arguments: see .ci/image.
ARG NODE_IMAGE=docker.io/library/node:22-bookworm-slim
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${NODE_IMAGE} AS pages
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM ${RUST_IMAGE} AS program
# Cargo's profile, and more arguments for it.
ARG PROFILE=release
ARG CARGO_ARGUMENTS=
WORKDIR /build
COPY Cargo.toml Cargo.lock clippy.toml ./
COPY src src
COPY media media
COPY turn turn
COPY benches benches
COPY config.toml ./
COPY --from=pages /build/web/dist web/dist
# Static, with the C library that the figures of docs/performance.md are measured with: what it looks names up with is inside.
RUN cargo rustc --locked --profile "$PROFILE" $CARGO_ARGUMENTS --bin switchboard -- -C target-feature=+crt-static \
    && mkdir -p /image && mv target/*/switchboard /image/switchboard \
    && install -d -m 0700 /image/volumes/data

FROM scratch AS runtime
COPY --from=program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=program /image/switchboard /switchboard
# As part of a folder that is copied it keeps its rights.
COPY --from=program --chown=65532:65532 /image/volumes/ /
USER 65532:65532
WORKDIR /
VOLUME ["/data"]
# REST, Socket.IO and pages; the relay; media; the relay over TLS.
EXPOSE 3001/tcp 3478/tcp 3478/udp 3479/tcp 3479/udp 5349/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["/switchboard", "--data", "/data", "health"]
ENTRYPOINT ["/switchboard", "--data", "/data"]
