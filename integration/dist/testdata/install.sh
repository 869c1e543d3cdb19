# In a mount namespace of its own: this machine's root with an empty layer above it, in which dpkg installs. What is written
# there is gone with the namespace.
#
#   install.sh BASE DEB run CONFIG UNIT-WORDS...    install, put CONFIG in place, become what the unit starts
#   install.sh BASE DEB life                        install, upgrade, remove, purge
set -eu
base=$1 deb=$2 what=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
cp "$deb" "$root/package.deb"
export DEBIAN_FRONTEND=noninteractive
chroot "$root" dpkg -i /package.deb >&2

case $what in
run)
  cp "$1" "$root/etc/engram-sidecar/config.yaml"
  shift
  if chroot "$root" sh -c 'command -v systemd-analyze' >/dev/null; then
    chroot "$root" systemd-analyze verify /lib/systemd/system/engram-sidecar.service >&2
    echo "the unit was verified" >&2
  fi
  mkdir -m 0700 "$root/var/lib/engram-sidecar" "$root/run/engram-sidecar"
  chown 61184:61184 "$root/var/lib/engram-sidecar" "$root/run/engram-sidecar"
  mount --bind "$root/var/lib/engram-sidecar" "$root/var/lib/engram-sidecar"
  mount --bind "$root/run/engram-sidecar" "$root/run/engram-sidecar"
  mount -o remount,bind,ro "$root"
  if chroot "$root" touch /written 2>/dev/null; then
    echo "the root can be written" >&2
    exit 1
  fi
  cd /
  exec chroot "$root" setpriv --reuid 61184 --regid 61184 --clear-groups --no-new-privs --bounding-set -all --inh-caps -all \
    env -i PATH=/usr/bin:/bin STATE_DIRECTORY=/var/lib/engram-sidecar RUNTIME_DIRECTORY=/run/engram-sidecar \
    ${NOTIFY_SOCKET:+NOTIFY_SOCKET=$NOTIFY_SOCKET} "$@"
  ;;
life)
  echo "# an operator's" >>"$root/etc/engram-sidecar/config.yaml"
  mkdir "$root/var/lib/engram-sidecar"
  echo kept >"$root/var/lib/engram-sidecar/data"
  chroot "$root" dpkg -i /package.deb >&2
  echo "upgraded: $(tail -1 "$root/etc/engram-sidecar/config.yaml")"
  chroot "$root" dpkg -r engram-sidecar >&2
  echo "removed: $(cd "$root" && ls -d usr/bin/engram-sidecar etc/engram-sidecar/config.yaml 2>/dev/null | tr '\n' ' ')"
  chroot "$root" dpkg -P engram-sidecar >&2
  echo "purged: $(cd "$root" && ls -d etc/engram-sidecar var/lib/engram-sidecar/data 2>/dev/null | tr '\n' ' ')"
  ;;
esac
