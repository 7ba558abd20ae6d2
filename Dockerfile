# Pages, then the program with the pages inside, then an image with nothing else in it.
FROM node:22-bookworm-slim AS pages
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM rust:1.95-bookworm AS program
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN rustup target add "$(uname -m)-unknown-linux-musl" \
    && apt-get update \
    && apt-get install -y --no-install-recommends musl-tools=1.2.3-1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock clippy.toml ./
COPY src src
COPY media media
COPY turn turn
COPY benches benches
COPY config.toml ./
COPY --from=pages /build/web/dist web/dist
RUN cargo build --release --locked --target "$(uname -m)-unknown-linux-musl" \
    && install -D "target/$(uname -m)-unknown-linux-musl/release/switchboard" /image/switchboard \
    && install -d -o 65532 -g 65532 /image/data

FROM scratch AS runtime
COPY --from=program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=program /image/switchboard /switchboard
COPY --from=program --chown=65532:65532 /image/data /data
USER 65532:65532
VOLUME ["/data"]
EXPOSE 3001 3478/tcp 3478/udp 5349/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/switchboard", "--data", "/data"]
