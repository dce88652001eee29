#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For people who know the older script of this name: the same environment variables, one command.
#
#   IBM_CLOUD_APIKEY=... VAULT_URL=... VAULT_INSTANCE_ID=... \
#     scripts/setup-image-signing-keys.sh --repository 'us.icr.io/team/*'
#
# It applies the Secrets to the current cluster, unless --render DIR writes them to a folder; every
# option of `imgsec setup-signing-keys` may follow. The policy is applied with --enforce only. Keys
# that the older script made are found, and taken over with --adopt.
set -eu

for name in IBM_CLOUD_APIKEY VAULT_URL VAULT_INSTANCE_ID; do
  eval "value=\${$name:-}"
  if [ -z "$value" ]; then
    echo "$0: set $name, as for the older script" >&2
    exit 2
  fi
done

here=$(cd "$(dirname "$0")/.." && pwd)
imgsec=$here/.venv/bin/imgsec
[ -x "$imgsec" ] || imgsec=$(command -v imgsec) || {
  echo "$0: imgsec is not installed; run scripts/demo, or: pip install $here" >&2
  exit 2
}

target=
[ -n "${IMGSEC_RENDER:-}" ] || target=--apply
alias=--alias=${IMGSEC_SETUP_SIGNING_KEYS_ALIAS:-image-signing}
for word in "$@"; do
  case $word in
  --render | --render=* | --apply | -h | --help) target= ;;
  --alias | --alias=*) alias= ;;
  esac
done
exec "$imgsec" setup-signing-keys ${alias:+"$alias"} ${target:+"$target"} "$@"
