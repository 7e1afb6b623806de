# For scripts that make something of Debian's packages; sourced, with `program` set to the caller's name.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$program" "$*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# Installs what of these packages is missing.
install_packages() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) == *ii* ]] || missing+=("$package")
  done
  [[ ${#missing[@]} == 0 ]] && return
  say "installing ${missing[*]}"
  local command=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
  as_root "${command[@]}" >/dev/null 2>&1 || { as_root apt-get update >/dev/null && as_root "${command[@]}" >&2; } ||
    fail "cannot install the packages that the build needs; as root: apt-get install ${missing[*]}"
}

# make_once WORK: runs WORK in a folder of its own, and keeps what it leaves in ./done as $result. Of the caller:
# `complete` says whether that is there already; `packages` are those that WORK needs; all is written below `cache`.
make_once() {
  command -v apt-get >/dev/null || fail "needs Debian's apt-get"
  install_packages "${packages[@]}"
  mkdir -p "$cache"
  # One at a time: who comes second finds it done.
  exec 9>"$cache/lock"
  flock 9
  complete && return
  # What was left by one that was killed; none runs now.
  rm -rf "$cache"/work.*
  work=$(mktemp -d "$cache/work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  mkdir done
  "$1"
  # A rename: the folder is there whole or not at all.
  rm -rf "$result"
  mv done "$result"
}

codename() { (. /etc/os-release && echo "${VERSION_CODENAME:?}"); }

# The mirror that this system takes its own Debian from.
mirror() {
  apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v codename="$(codename)" '$1 == codename && $2 == "main" { print $3; exit }'
}

# fetch_source SUITE PACKAGE[=VERSION] [APT OPTION]: unpacks a source package as ./source. What comes is trusted by the
# archive's signature alone: apt checks the index with the system's Debian keys, and the files with the index's sums.
# The suite is not added to the system: apt gets sources, state and cache of its own, here.
fetch_source() {
  local suite=$1 package=$2 option=${3:-} uri
  uri=$(mirror)
  [[ -n $uri ]] || fail "apt knows no mirror of Debian on this system"
  mkdir -p apt/lists/partial apt/archives/partial
  echo "deb-src $option $uri $suite main" > apt/sources.list
  : > apt/status
  local options=(-qq -o Dir::Etc::sourcelist="$PWD/apt/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State="$PWD/apt" -o Dir::State::lists="$PWD/apt/lists" -o Dir::State::status="$PWD/apt/status"
    -o Dir::Cache="$PWD/apt" -o APT::Sandbox::User= -o APT::Update::Post-Invoke-Success=)
  apt-get "${options[@]}" update >&2
  apt-get "${options[@]}" source --download-only "$package" >&2
  # The signature in the .dsc is its uploader's, whose key no system need have.
  dpkg-source --no-check -x "${package%%=*}"_*.dsc source >dpkg-source.log 2>&1 ||
    { cat dpkg-source.log >&2; fail "cannot unpack the source of $package"; }
}

# fetch_package PACKAGE FOLDER: unpacks one of the system's own packages there; nothing is installed.
fetch_package() {
  mkdir -p download
  (cd download && { apt-get -qq -o APT::Sandbox::User= download "$1" >&2 ||
    { as_root apt-get update >/dev/null && apt-get -qq -o APT::Sandbox::User= download "$1" >&2; }; }) ||
    fail "cannot download $1"
  dpkg-deb -x download/"$1"_*.deb "$2"
}
