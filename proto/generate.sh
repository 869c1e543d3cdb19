#!/usr/bin/env bash
# Generates the Go code of every .proto file here, beside it or under the directory given: proto/generate.sh [DIR].
# Exits 3 when a pinned tool is missing, so that a caller can tell that from broken .proto files.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$(realpath "${1:-$root/proto}")

"$root/.ci/tools" check buf protoc-gen-go protoc-gen-go-grpc || exit 3
PATH=$root/.tools/bin:$PATH
cd "$root/proto"
buf lint
buf generate --output "$out"
