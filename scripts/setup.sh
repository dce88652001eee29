# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by scripts/demo and scripts/test: bring a fresh Debian machine to what they need.
#
# What is there already is left alone, whoever put it there; so nothing here asks for root, or for
# Debian, unless something is missing. Python packages go into .venv, pinned and with their hashes.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

system="" # the machine's root folder; tests put a folder of their own here
policy=$system/usr/sbin/policy-rc.d
policy_marker="# Made by imgsec's scripts/setup.sh for as long as it installs packages."
# It exists from before docker-registry is installed until the package is whole and its service off.
registry_guard=$system/etc/systemd/system/docker-registry.service.d/imgsec-setup.conf

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Stop with the exit code that imgsec uses for a wrong question.
refuse() {
  say "$@"
  exit 2
}

# lock FILE - keep other runs out until unlock. What we start holds it too, so that the next run
# also waits for the apt-get of one that was killed.
lock() {
  exec 9>>"$1"
  flock -n 9 && return 0
  say "waiting for another run that installs things here"
  flock 9
}

unlock() { exec 9>&-; }

# at_the_end COMMAND - run it when the script ends, however; a signal waits for what runs just now.
at_the_end() {
  # shellcheck disable=SC2064 # it is meant to be expanded now
  trap "$1" EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
}

nothing_at_the_end() { trap - EXIT HUP INT TERM; }

# require_packages PROGRAM:PACKAGE... - install the packages whose program is missing.
require_packages() {
  local missing
  find_missing "$@"
  [ ${#missing[@]} -gt 0 ] || is_unfinished || return 0
  [ -e "$system/etc/debian_version" ] && command -v apt-get >/dev/null ||
    refuse "missing: ${missing[*]} (Debian's package names). This is not Debian, so install them" \
      "yourself, or run the demo in a container: see README.md."
  if [ "$(id -u)" != 0 ]; then
    ! is_unfinished || refuse "an installation by root did not come to its end yet: wait for it," \
      "or run this as root once."
    refuse "missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"
  fi
  lock "$system/run/imgsec-setup.lock"
  find_missing "$@" # another run may have installed them meanwhile
  if [ ${#missing[@]} -gt 0 ] || is_unfinished; then install_packages "${missing[@]}"; fi
  unlock
}

# Put into the caller's `missing` what is to be installed.
find_missing() {
  local pair package
  missing=()
  for pair in "$@"; do
    package=${pair##*:}
    if has_program "${pair%%:*}" && ! is_half_installed "$package"; then continue; fi
    [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
  done
  find_python >/dev/null || missing+=(python3 python3-venv)
}

# The folders of the system only: imgsec itself never searches PATH for its tools.
has_program() {
  local folder
  for folder in /usr/bin /bin /usr/local/bin /usr/sbin /usr/local/sbin /sbin; do
    [ -x "$system$folder/$1" ] && return 0
  done
  return 1
}

# A package that was only unpacked has its program, and enables its service when apt-get goes on.
is_half_installed() { [ "$1" = docker-registry ] && [ -e "$registry_guard" ]; }

# Whether a run was killed before it could clean up.
is_unfinished() { [ -e "$registry_guard" ] || is_policy_ours; }

is_policy_ours() { grep -qsxF "$policy_marker" "$policy"; }

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
  local what="installing ${*:-what an earlier run left}" repair=()
  if is_unfinished; then repair=(--fix-broken --no-remove); fi
  export DEBIAN_FRONTEND=noninteractive
  say "$what"
  at_the_end end_installation
  forbid_services "$@"
  # Until this was done, apt-get refuses all work; what it could not do, apt-get then can.
  [ ${#repair[@]} = 0 ] || attempt undisturbed dpkg --configure -a || true
  quietly "apt-get update" undisturbed apt-get update
  quietly "$what" undisturbed apt-get install --yes --no-install-recommends "${repair[@]}" "$@"
  end_installation
  forget_registry_guard
  nothing_at_the_end
}

# Ended halfway, apt-get would leave a dpkg that goes on without us. Ctrl-C it handles well.
undisturbed() (
  trap '' HUP TERM
  exec "$@"
)

# docker-registry starts a service on all interfaces as soon as it is installed; nothing may start
# while we install, and that one never. Somebody else's policy stays as it is.
forbid_services() {
  # A unit of the machine's own by that name is not the package's, and none of our business.
  case " $* " in *" docker-registry "*)
    if [ ! -e "${registry_guard%.d/*}" ]; then
      mkdir -p "${registry_guard%/*}"
      printf '%s\n' '# Made by scripts/setup.sh of imgsec; its next success removes it.' \
        '[Unit]' "ConditionPathExists=!$registry_guard" >"$registry_guard"
    fi
    ;;
  esac
  if [ ! -e "$policy" ]; then
    printf '%s\n' '#!/bin/sh' "$policy_marker" 'exit 101' >"$policy.new"
    chmod 755 "$policy.new"
    mv "$policy.new" "$policy" # in one step, so that it never lies there without its marker
  fi
}

end_installation() {
  if [ -e "$registry_guard" ]; then
    disable_registry_service
    has_program docker-registry || forget_registry_guard # it was not even unpacked
  fi
  if is_policy_ours; then rm -f "$policy"; fi
}

disable_registry_service() {
  attempt systemctl disable --now docker-registry.service ||
    attempt systemctl disable docker-registry.service || true
  attempt update-rc.d docker-registry disable || true
  attempt "$system/etc/init.d/docker-registry" stop || true # where there is no systemd
}

forget_registry_guard() {
  [ -e "$registry_guard" ] || return 0
  rm -f "$registry_guard"
  attempt rmdir "${registry_guard%/*}" || true
  attempt systemctl daemon-reload || true
}

attempt() { "$@" >/dev/null 2>&1; }

# Print the first Python that is new enough and can make virtual environments.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 "$system/usr/bin/python3"; do
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
  has_venv "$@" && return 0
  lock .venv.lock
  has_venv "$@" || make_venv "$1" # another run may have made it meanwhile
  unlock
}

has_venv() {
  local name
  for name in "$@"; do
    [ -e ".venv/$(stamp_of "$name")" ] && return 0
  done
  return 1
}

make_venv() {
  local name=$1 python
  if has_venv demo test; then
    # A demo may be running in it. test.txt has all of demo.txt, so nothing there changes.
    say "adding requirements/$name.txt to .venv"
  else
    python=$(find_python) ||
      refuse "no Python 3.11 or newer with venv was found; PYTHON can name one"
    is_own_venv || refuse "the .venv here was not made by this script, which would replace it:" \
      "move it away, or remove it"
    say "making .venv with $("$python" --version) and requirements/$name.txt"
    at_the_end discard_venv # half of one is worse than none
    discard_venv
    mkdir .venv
    touch .venv/imgsec-begun
    quietly "making .venv" "$python" -m venv .venv
  fi
  quietly "installing requirements/$name.txt" .venv/bin/python -m pip install \
    --disable-pip-version-check --require-hashes --requirement "requirements/$name.txt"
  [ -e .venv/bin/imgsec ] || quietly "installing imgsec" .venv/bin/python -m pip install \
    --disable-pip-version-check --no-deps --no-build-isolation --editable .
  touch ".venv/$(stamp_of "$name")"
  nothing_at_the_end
}

# Whether nothing of somebody else's would be lost: whatever we make has a stamp from its beginning.
is_own_venv() {
  local stamp
  [ -e .venv ] || [ -L .venv ] || return 0
  for stamp in .venv/imgsec-*; do
    [ -e "$stamp" ] && return 0
  done
  rmdir .venv 2>/dev/null # we were killed before the stamp
}

# Out of the way first, so that there is never half of one without its stamp.
discard_venv() {
  rm -rf .venv.gone
  [ ! -e .venv ] || mv .venv .venv.gone
  rm -rf .venv.gone
}

# A stamp changes with what is asked for and with the place, so that an older .venv, or one that was
# copied along with the checkout, is made anew.
stamp_of() {
  printf 'imgsec-%s-%s' "$1" \
    "$({ pwd && cat "requirements/$1.txt" pyproject.toml; } | sha256sum | cut -c1-16)"
}
