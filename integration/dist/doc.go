// Package dist makes a release and uses it as an operator would: the archives and packages of .ci/dist, installed by dpkg and
// started as their unit says; and what docs/deploy/Dockerfile describes, without Docker.
//
// What it promises: the same sources give the same bytes; the binaries are static; the Debian package installs, runs as a user
// without rights on a root that cannot be written, keeps the settings of an operator through an upgrade, and the data through a
// purge. What it assumes: Debian's dpkg-deb, and for what is installed root, mount namespaces and overlayfs over this machine's
// own root, which it does not change; what is missing skips its test by name. It does not show what systemd itself does with
// the unit, nor what Docker does with the file.
//
// Processes belong to the test that started them, which waits for them; a crash of the test process leaves temporary
// directories, and mounts go with the namespace's last process.
package dist
