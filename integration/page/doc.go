// Package page opens the dashboard of the real binary in a headless Chromium, and does there what a person would.
//
// What it promises: the page works with nothing but what the sidecar serves, by keyboard alone, on a phone's width, in both
// colour schemes, and with a token; nothing is written to the browser's console. What it assumes: Debian's package chromium;
// without it a test is skipped by its name, or fails with REQUIRE_TOOLS=1. Each test owns its browser's processes and the
// goroutines that talk to them, and waits for them; a crash of the test process leaves temporary directories.
//
// With SCREENSHOTS=DIR the tests leave pictures of what they saw in DIR.
package page
