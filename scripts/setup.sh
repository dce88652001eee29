# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by scripts/demo and scripts/test: bring a fresh Debian machine to what they need.
#
# What is there already is left alone, whoever put it there; so nothing here asks for root, or for
# Debian, unless something is missing. Python packages go into .venv, pinned and with their hashes.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Stop with the exit code that imgsec uses for a wrong question.
refuse() {
  say "$@"
  exit 2
}

# require_packages PROGRAM:PACKAGE... - install the packages whose program is missing.
require_packages() {
  local pair missing=()
  for pair in "$@"; do
    has_program "${pair%%:*}" || missing+=("${pair##*:}")
  done
  find_python >/dev/null || missing+=(python3 python3-venv)
  [ ${#missing[@]} -gt 0 ] || return 0
  [ -e /etc/debian_version ] && command -v apt-get >/dev/null ||
    refuse "missing: ${missing[*]} (Debian's package names). This is not Debian, so install them" \
      "yourself, or run the demo in a container: see README.md."
  [ "$(id -u)" = 0 ] ||
    refuse "missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  install_packages "${missing[@]}"
}

# The folders of the system only: imgsec itself never searches PATH for its tools.
has_program() {
  local folder
  for folder in /usr/bin /bin /usr/local/bin /usr/sbin /usr/local/sbin /sbin; do
    [ -x "$folder/$1" ] && return 0
  done
  return 1
}

# quietly WHAT COMMAND... - keep what it prints for the case that it fails.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "$what failed; the whole output is in $log"
    exit 3
  fi
  rm -f "$log"
}

install_packages() {
  local guarded=""
  # docker-registry starts a service on all interfaces as soon as it is installed; nothing may
  # start while we install, and that one never.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    guarded=yes
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
  fi
  quietly "apt-get update" apt-get update
  DEBIAN_FRONTEND=noninteractive quietly "installing $*" \
    apt-get install --yes --no-install-recommends "$@"
  case " $* " in *" docker-registry "*) disable_registry_service ;; esac
  if [ -n "$guarded" ]; then
    rm -f /usr/sbin/policy-rc.d
    trap - EXIT
  fi
}

disable_registry_service() {
  if command -v systemctl >/dev/null; then
    systemctl disable --now docker-registry.service >/dev/null 2>&1 ||
      systemctl disable docker-registry.service >/dev/null 2>&1 || true
  fi
  if command -v update-rc.d >/dev/null; then
    update-rc.d docker-registry disable >/dev/null 2>&1 || true
  fi
}

# Print the first Python that is new enough and can make virtual environments.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 /usr/bin/python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
      >/dev/null 2>&1; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

# require_venv NAME... - a .venv with requirements/NAME.txt, and imgsec itself in editable form.
# Several names mean: any of these will do, and the first is made if none is there.
require_venv() {
  local name stamp python
  for name in "$@"; do
    [ -e ".venv/$(stamp_of "$name")" ] && return 0
  done
  name=$1
  stamp=$(stamp_of "$name")
  python=$(find_python) || refuse "no Python 3.11 or newer with venv was found; PYTHON can name one"
  say "making .venv with $("$python" --version) and requirements/$name.txt"
  trap 'rm -rf .venv' EXIT # half of one is worse than none
  quietly "making .venv" "$python" -m venv --clear .venv
  quietly "installing requirements/$name.txt" .venv/bin/python -m pip install \
    --disable-pip-version-check --require-hashes --requirement "requirements/$name.txt"
  quietly "installing imgsec" .venv/bin/python -m pip install \
    --disable-pip-version-check --no-deps --no-build-isolation --editable .
  touch ".venv/$stamp"
  trap - EXIT
}

# A stamp changes with what is asked for and with the place, so that an older .venv, or one that was
# copied along with the checkout, is made anew.
stamp_of() {
  printf 'imgsec-%s-%s' "$1" \
    "$({ pwd && cat "requirements/$1.txt" pyproject.toml; } | sha256sum | cut -c1-16)"
}
