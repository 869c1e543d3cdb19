// Package faults breaks the machine under the real binary: power cuts on real file systems, a file system that keeps no
// more than what was synced, disks that fail or fill up, kills at each system call of a start, and files that rotted.
// It works from outside, as package integration does, and lets the same oracle judge.
//
// What it promises: each run ends with the oracle, over everything that clients were told and the store received, and with
// the balance of /api/status, which has to hold to the unit. TestFaultCatches… show that a sidecar which breaks one promise
// is found out by what runs in CI.
//
// What it assumes: Linux. A test that lacks its means (root, loop devices, FUSE, strace, mkfs) is skipped by the name of
// what is missing. Loop devices and mounts are in directories of the test and are given back at its end.
//
// Goroutines: those of a rig belong to its test, which waits for them. A crash of the test process may leave a mount
// behind, in a temporary directory whose name begins with TestFault.
//
// Environment:
//
//	REQUIRE_FAULTS=1    what lacks its means fails instead of being skipped
//	NIGHTLY=1           every test at its full length
//	FAULTS_SEED         the seed of a run to repeat, as it was printed
package faults
