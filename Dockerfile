# The images of both programs. The last stage is the Action, so that a plain
# `docker build .`, which is what a runner does, makes that one; the License
# service is `docker build --target service .`.
#
# Written for the classic builder as well as for BuildKit: no syntax line, no
# mounts in RUN, no here-documents, no --link, no --platform.
# A release sets the base images to digests by these arguments.
ARG NODE_IMAGE=node:22-bookworm-slim
ARG GO_IMAGE=golang:1.26-bookworm
# The optimizer needs glibc, libgcc and libstdc++: `cc`, not `static`.
ARG ACTION_IMAGE=gcr.io/distroless/cc-debian12:latest
# `static` would do for the service. The same base as the Action's spares one
# pull where a builder makes every stage on the way to the last.
ARG SERVICE_IMAGE=gcr.io/distroless/cc-debian12:latest
# What programs and labels say when nothing is given. A release puts its version here
# (.ci/release), so that a build of its commit says it too.
ARG VERSION=dev


FROM ${NODE_IMAGE} AS optimizer
ARG TARGETARCH
# Unset unless given: then npm's own default holds.
ARG NPM_CONFIG_REGISTRY
WORKDIR /optimizer
COPY action/optimize/cli/package.json action/optimize/cli/package-lock.json action/optimize/cli/.npmrc ./
# The classic builder leaves TARGETARCH empty.
RUN arch="${TARGETARCH:-amd64}"; \
    case "$arch" in \
      amd64) package=@pageflare/cli-linux-x64 ;; \
      *) echo "error: the pageflare CLI is published for linux/amd64 only, not for linux/$arch; build with --platform linux/amd64" >&2; exit 1 ;; \
    esac; \
    npm ci --ignore-scripts --no-audit --no-fund && \
    install -m 0755 "node_modules/$package/bin/pageflare" /usr/local/bin/pageflare


FROM ${GO_IMAGE} AS build
# Unset unless given: then Go's own defaults hold.
ARG GOPROXY
ARG GOSUMDB
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY action ./action
COPY github ./github
COPY service ./service
ARG VERSION
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /out/pageflare-action ./action && \
    CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /out/pageflare-license ./service && \
    mkdir /out/data


FROM ${SERVICE_IMAGE} AS service
ARG VERSION
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="pageflare-license" \
      org.opencontainers.image.description="Issues, refreshes and revokes pageflare license tokens" \
      org.opencontainers.image.source="https://github.com/pageflare/ci" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /out/pageflare-license /usr/local/bin/pageflare-license
# A new volume takes its owner from the folder in the image.
COPY --from=build --chown=65532:65532 /out/data /data
ENV LICENSE_LISTEN=0.0.0.0:8080 \
    LICENSE_DATABASE_URL=sqlite:/data/pageflare-license.db
VOLUME /data
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/pageflare-license", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/pageflare-license"]
CMD ["serve"]


# No USER: the runner's mounts belong to another user, and only root can write
# there. No WORKDIR: the runner sets its own.
FROM ${ACTION_IMAGE} AS action
ARG VERSION
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="pageflare-action" \
      org.opencontainers.image.description="Optimizes a built static site with pageflare and keeps its license token fresh" \
      org.opencontainers.image.source="https://github.com/pageflare/ci" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=optimizer /usr/local/bin/pageflare /usr/local/bin/pageflare
COPY --from=build /out/pageflare-action /usr/local/bin/pageflare-action
ENTRYPOINT ["/usr/local/bin/pageflare-action"]
