# The release images: one static program each on an empty base, nothing else.
#
#   docker build --target relay     -t paramant-relay .
#   docker build --target operator  -t paramant-operator .
#   docker build --target authority -t paramant-authority .
#
# Two builds of one commit give one binary: places are replaced by fixed names, the lock file and the toolchain are pinned.
# `cargo xtask reproduce` proves it without Docker; for one digest here too, pass
# --output type=image,rewrite-timestamp=true --build-arg SOURCE_DATE_EPOCH=0 and pin RUST by digest.
ARG RUST=docker.io/library/rust:1.95.0-slim-bookworm

FROM ${RUST} AS build
WORKDIR /src
COPY . .
# Shown by --version and in the status of relays; the workspace's own version when empty.
ARG VERSION=""
# These replace the flags of .cargo/config.toml, so they repeat them.
ENV RUSTFLAGS="-Ctarget-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo" \
    CFLAGS="-ffile-prefix-map=/usr/local/cargo=/cargo" \
    CARGO_INCREMENTAL=0 \
    SOURCE_DATE_EPOCH=0
RUN export CARGO_TARGET_DIR=/target ${VERSION:+PARAMANT_VERSION="$VERSION"}; \
    cargo build --release --locked --target x86_64-unknown-linux-gnu \
        -p paramant-operator --bin paramant-operator -p paramant-relay --bin paramant-relay --bin paramant-courier \
        -p paramant-authority --bin paramant-authority \
    && test "$(/target/x86_64-unknown-linux-gnu/release/paramant-relay data-schema)" = '{"schema":14,"minReader":1}' \
    && mkdir /programs \
    && cd /target/x86_64-unknown-linux-gnu/release && cp paramant-operator paramant-relay paramant-courier paramant-authority /programs/

FROM scratch AS operator
LABEL org.opencontainers.image.title="paramant-operator" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /programs/paramant-operator /paramant-operator
USER 65532:65532
ENTRYPOINT ["/paramant-operator"]

FROM scratch AS authority
LABEL org.opencontainers.image.title="paramant-authority" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /programs/paramant-authority /paramant-authority
USER 65532:65532
ENTRYPOINT ["/paramant-authority"]

FROM scratch AS relay
LABEL org.opencontainers.image.title="paramant-relay" org.opencontainers.image.licenses="Apache-2.0"
# What the program says of itself (checked above), for an operator that looks before it runs the image.
LABEL app.paramant.data.schema="14" app.paramant.data.min-reader="1"
# What the relay becomes in the pods of couriers.
COPY --from=build --chmod=0755 /programs/paramant-relay /programs/paramant-courier /
USER 65532:65532
ENTRYPOINT ["/paramant-relay"]
