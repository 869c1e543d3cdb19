// Package storetest is what every store must pass: the promises of package store, as tests.
//
// A store's test calls Run with a function that opens an empty store. What the store's Capabilities leave out is not
// tested: versions, commit times, recall. What the suite sees of a store it sees through Target.Contents, which the store's
// test writes: by recalling everything, or by looking into the server behind the adapter.
//
// The suite retries what a store puts off (a plain error, store.ErrBehind, store.Unavailable), as the forwarder does, and
// gives up after some rounds. It has no goroutines that outlive a test, and keeps nothing.
package storetest
