# All of Portcullis' binaries in one small image, as a user without rights: `docker build -t portcullis .`
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG PROFILE=release
RUN cargo build --locked --profile "$PROFILE" --bins \
    && mkdir /out \
    && for binary in ledger subtensor platform validator miner keeper billing audit bots engine; do \
           cp "target/$PROFILE/$binary" /out/ && strip "/out/$binary" || exit 1; \
       done

FROM debian:bookworm-slim
# The certificates that alerts and nodes over TLS are checked with.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /usr/local/bin/
COPY scenarios /usr/share/portcullis/scenarios
RUN useradd --system --uid 10001 --home-dir /var/lib/portcullis --create-home portcullis \
    && install --directory --owner=portcullis --mode=700 /wallets
USER portcullis
WORKDIR /var/lib/portcullis
VOLUME /var/lib/portcullis
CMD ["platform", "--help"]
