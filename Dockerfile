# iotcast and nothing else: no shell, no libraries, no root.
#
#   docker build -t iotcast .
#   docker run --rm -p 127.0.0.1:8080:8080 iotcast quickstart # then open http://localhost:8080/
#   docker run -p 8080:8080 -v ./my.yaml:/iotcast.yaml:ro iotcast

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=0.1.0 DATE TARGETOS TARGETARCH
# timetzdata: the image has no time zones that Bloblang's time functions could look up.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -tags timetzdata \
    -ldflags "-s -w -X github.com/iotcast/iotcast/internal/version.linked=$VERSION -X github.com/iotcast/iotcast/internal/version.date=$DATE" \
    -o /image/iotcast ./cmd/iotcast
# Licences of all that the binary links, and the list of it, an SBOM. Fails for what is not permissive.
RUN go run ./internal/licences /image/licences
RUN mkdir -p /image/etc/ssl/certs \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'iotcast:x:65532:65532:iotcast:/:/sbin/nologin' >/image/etc/passwd \
    && echo 'iotcast:x:65532:' >/image/etc/group \
    && mkdir -m 1777 /image/tmp \
    && cp -r config resources /image/ && rm /image/config/*.go

FROM scratch
COPY --from=build /image /
USER 65532:65532
# The gateways of /config listen where this says: in a container, loopback is of no use
# to clients. The API of Benthos stays on loopback, where docker exec reaches it. For
# probes and metrics set HTTP_ADDRESS=0.0.0.0:4195, and with streams IOTCAST_API_USER
# and IOTCAST_API_PASSWORD, without which they do not start on such an address.
ENV GATEWAY_ADDRESS=0.0.0.0:8080
# WebSocket connections; the API of Benthos, with metrics and health, where HTTP_ADDRESS opens it.
EXPOSE 8080 4195
ENTRYPOINT ["/iotcast"]
CMD ["run", "/iotcast.yaml"]
