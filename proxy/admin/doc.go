// Package admin is the sidecar's HTTP door for operators and machines: the dashboard at /, /livez, /readyz, /metrics,
// /api/status, and /api/deadletters, where dead letters are listed, replayed and dropped.
//
// # What it promises
//
// It answers from the moment its listener stands: /livez says ok while the process can answer at all, /readyz says 503
// with the reason until the sidecar serves, and recovery, however long, never fails liveness. An outage of the store fails
// neither: the sidecar goes on accepting, and /api/status says so. A GET changes nothing anywhere.
//
// /metrics and /api/status are drawn from the same Status, taken once for each request, so that the balance holds within
// one answer: accepted = delivered + pending + dead + dropped + damaged.
//
// A stranger's web page gets nothing. A request is answered only when its Host is a loopback name or the address it came in
// by (which defeats DNS rebinding) and when it bears no sign of another page than the sidecar's own (Origin, Sec-Fetch-Site).
// No CORS header is ever sent. What changes something is a POST with the header X-Engram-Sidecar: 1. Where a token is
// required, everything but /livez, /readyz and the dashboard's empty page needs it.
//
// The dashboard is one page with a strict Content-Security-Policy, and asks nobody but the sidecar. However many pages are
// open, the status is taken once a second for all; what does not keep up is cut off, and above 32 pages none is added.
//
// # What it assumes
//
// The status function is cheap, never blocks on a disk or a store, and may be called from many goroutines at once.
// Neither labels nor status fields hold an episode's text, a vector or a credential; labels never hold a session id.
//
// # Goroutines and crashes
//
// Serve runs until Shutdown and owns the connections' goroutines and the one that takes samples; nothing outlives it. The package keeps no state on
// disk: a crash costs nothing but the histograms, which begin anew with each process.
package admin
