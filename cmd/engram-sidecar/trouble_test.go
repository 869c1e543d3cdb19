package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/engram-sidecar/engram-sidecar/proxy"
	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/forward"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

func TestWhatTheStoreRefusesIsADeadLetter(t *testing.T) {
	f := &fake{}
	r := serveHere(t, t.TempDir(), "--store", "engram://"+serveFake(t, f))
	call("good\npoison\nbetter\n", "observe", "--addr", r.address, "--drain").wants(t, 0, "1 of them", "")
	s := r.status()
	if s.Balance.Accepted != 3 || s.Balance.Delivered != 2 || s.Balance.Dead != 1 || !strings.Contains(s.Store.LastError, "InvalidArgument") || strings.Contains(s.Store.LastError, "poison") {
		t.Errorf("%+v, last error %q", s.Balance, s.Store.LastError)
	}
	if len(f.episodes) != 2 || f.episodes[1].GetWhat() != "better" || f.episodes[0].GetId() == "" {
		t.Errorf("the store has %v", f.episodes)
	}
}

// TestAJournalThatFailsEndsTheProcess puts a file in the place of the journal's directory, under a running sidecar.
func TestAJournalThatFailsEndsTheProcess(t *testing.T) {
	dir := t.TempDir()
	r := serveHere(t, dir)
	if err := os.Rename(recovery.JournalDir(dir), filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recovery.JournalDir(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	input := strings.Repeat("a line of no account\n", 10_000) // more than the generations that are ready hold
	o := call(input, "observe", "--addr", r.address, "--retry-for", "1ns")
	if o.code != exitFailure {
		t.Errorf("observe ended with %d: %s %s", o.code, o.stdout, o.stderr)
	}
	if code := r.ended(); code != exitIO {
		t.Errorf("serve ended with %d, want %d", code, exitIO)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	said := strings.TrimSpace(r.later.String())
	last := said[strings.LastIndexByte(said, '\n')+1:]
	// The committer and the ledger's keeper meet the same failure; either may be the first to say so.
	first := strings.HasPrefix(last, "engram-sidecar: journal failed: ") || strings.HasPrefix(last, "engram-sidecar: the ledger's disk failed: ")
	if !first || !strings.Contains(last, "recover") {
		t.Errorf("its last word is %q", last)
	}
}

func TestSinkTellsTheLedger(t *testing.T) {
	state, err := recovery.Open(recovery.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	}()
	var records []wal.Record
	for i := range uint64(3) {
		r := wal.Record{Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Space: "default", Sequence: i + 1, ID: []byte("id"), Payload: []byte("payload")}
		if _, err := state.Journal.Write(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	s := sink{state.Ledger, proxy.NewNews()}
	s.Settle(&records[0], forward.Delivered)
	s.Settle(&records[1], forward.Damaged)
	if err := s.Bury(forward.Letter{Record: records[2], Reason: "no", Attempts: 1, DiedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	want := ledger.Balance{Tally: wal.Tally{Accepted: 3, Delivered: 1, Damaged: 1, Dead: 1}}
	if diff := cmp.Diff(want, state.Ledger.Balance()); diff != "" {
		t.Errorf("balance (-want +got):\n%s", diff)
	}
}

func TestStatusTellsWhatRecoveryFound(t *testing.T) {
	id := wal.SessionID{1}
	got := recovered(&recovery.Report{
		Took: 1500 * time.Millisecond, Sessions: 4, Balance: ledger.Balance{Pending: 7}, Ledger: errors.New("lost"),
		Torn: &wal.DamageError{Length: 99},
		Damages: []*wal.DamageError{
			{File: "g1", Offset: 10, First: 5, Last: 6, Session: id, Sequence: 3, Reason: "checksum"},
			{File: "g2", Offset: 20, Reason: "no frame"},
		},
	})
	want := admin.Recovery{
		Duration: 1.5, Sessions: 4, Pending: 7, TornTail: 99, Rebuilt: true, Damages: []admin.Damage{
			{Place: "g1 at 10, index 5 to 6", Session: id.String(), First: 3, Last: 3, Reason: "checksum"},
			{Place: "g2 at 20", Reason: "no frame"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if recovered(&recovery.Report{Fresh: true, Ledger: os.ErrNotExist}).Rebuilt {
		t.Error("a new ledger counts as one that was lost")
	}
}
