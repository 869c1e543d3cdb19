package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func TestStoreInspectAndCompact(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	call("", "store", "compact", "--data-dir", dir).wants(t, exitConfig, "", "expected an embedded store in "+dir)
	r := serveHere(t, dir)
	for range 3 { // the same ids: two of three versions of each are superseded
		call("rain\nsnow\n", "observe", "--addr", r.address, "--drain", "--id-prefix", "n").wants(t, 0, "acked 2", "")
	}
	if s := r.status().Store; s.Stored != 2 || s.Rows != 6 || s.Limit == 0 || s.Near {
		t.Errorf("status says %+v", s)
	}
	for _, command := range []string{"compact", "inspect"} {
		call("", "store", command, "--data-dir", dir).wants(t, exitInUse, "", "stop the sidecar first")
	}
	if code := r.stop(); code != 0 {
		t.Fatalf("stopped with %d", code)
	}
	call("", "store", "inspect", "--data-dir", dir).wants(t, 0, "2 memories, 4 superseded versions, 0 damaged", "")
	call("", "store", "inspect", "--data-dir", dir).wants(t, 0, "default: 2 memories", "")
	call("", "store", "compact", "--data-dir", dir).wants(t, 0, "2 memories, 4 rows given up", "")
	call("", "store", "compact", "--data-dir", dir).wants(t, 0, "is compact: 2 memories", "")
	var found storeFound
	if err := json.Unmarshal([]byte(call("", "store", "inspect", "--json", "--data-dir", dir).stdout), &found); err != nil {
		t.Fatal(err)
	}
	if found.Memories != 2 || found.Superseded != 0 || found.Spaces["default"] != 2 {
		t.Errorf("found %+v", found)
	}
	r = serveHere(t, dir)
	call("", "recall", "--addr", r.address, "-k", "1", "snow").wants(t, 0, "snow", "")
	if s := r.status(); s.Store.Rows != 2 {
		t.Errorf("status says %+v", s.Store)
	}
}

func TestNearItsSizeIsSaid(t *testing.T) {
	s := admin.Status{Store: admin.Store{Kind: "embedded", Up: true, Breaker: "closed", Stored: 850, Rows: 900, Limit: 1000, Near: true}}
	if text := describe(s); !strings.Contains(text, "850 stored (NEAR ITS SIZE: 900 rows of 1000)") {
		t.Errorf("it says\n%s", text)
	}
	s.Store.Near = false
	if text := describe(s); strings.Contains(text, "NEAR") {
		t.Errorf("it says\n%s", text)
	}
}
