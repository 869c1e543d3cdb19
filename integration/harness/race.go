//go:build race

package harness

// raceBuild is set when the tests run under the race detector; then the binary is built with it too.
const raceBuild = true
