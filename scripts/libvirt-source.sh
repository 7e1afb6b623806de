# For scripts that build a libvirt of Debian's source; sourced after debian.sh.
# shellcheck shell=bash

libvirt_packages=(dpkg-dev gcc libc6-dev meson ninja-build pkg-config python3 patch gettext libxml2-utils xsltproc
  python3-docutils libglib2.0-dev libxml2-dev libgnutls28-dev libtirpc-dev rpcsvc-proto libyajl-dev libreadline-dev)

# build_libvirt FEATURE ...: builds ./source and leaves it in ./done. All that Debian's package has beyond the features
# is left out. It runs only from $result, which is compiled in; /run, /var and /etc are the system's, and so whoever
# starts it does that in namespaces.
build_libvirt() {
  say "building (log: $cache/build.log)"
  local setup=(--prefix="$result" --libdir=lib --sysconfdir=/etc --localstatedir=/var -Drunstatedir=/run
    -Dauto_features=disabled -Drpath=enabled -Dinit_script=none -Ddocs=disabled -Dtests=disabled
    -Dwerror=false -Ddriver_remote=enabled -Ddriver_test=disabled -Dyajl=enabled "$@")
  # The system's own python first: another one does not know Debian's meson. Joined by hand: the caller's "||" turns
  # the shell's own stop at an error off.
  (export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
    mkdir install && cd source && meson setup build "${setup[@]}" &&
    nice -n 15 ninja -C build -j1 && DESTDIR="$work/install" meson install -C build --no-rebuild) \
    > "$cache/build.log" 2>&1 || { tail -40 "$cache/build.log" >&2; fail "the build failed"; }
  # What is no program or library of it stays out: it is the system's place.
  cp -a "install$result"/. done/
}
