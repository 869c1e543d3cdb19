# What a container of the image is: a root that holds the binary and the data directory alone and cannot be written, a user
# without rights, no capability.
#
#   contain.sh BASE BINARY USER DATA ENVIRONMENT... -- WORDS...
set -eu
base=$1 binary=$2 user=$3 data=$4
shift 4
vars=
while [ "$1" != -- ]; do
  vars="$vars $1"
  shift
done
shift
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$base"
cp "$binary" "$base/engram-sidecar"
chmod 0755 "$base/engram-sidecar"
mkdir -m 0700 "$base$data"
chown "$user" "$base$data"
mount --bind "$base$data" "$base$data"
mount -o remount,bind,ro "$base"
if touch "$base/written" 2>/dev/null; then
  echo "the root can be written" >&2
  exit 1
fi
cd /
chroot=$(command -v chroot)
# shellcheck disable=SC2086
exec env -i $vars setpriv --no-new-privs "$chroot" --userspec="$user" "$base" "$@"
