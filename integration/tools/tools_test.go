package tools

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// run runs a command of the binary to its end.
func run(t *testing.T, bin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := harness.Command(t, bin, args...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	_ = c.Run() // the exit code is looked at
	return out.String(), said.String(), c.ProcessState.ExitCode()
}

// expect runs a command that has to end with code.
func expect(t *testing.T, code int, bin string, args ...string) string {
	t.Helper()
	stdout, stderr, got := run(t, bin, args...)
	if got != code {
		t.Fatalf("%q: code %d, want %d: %s %s", args, got, code, stdout, stderr)
	}
	return stdout
}

// load is clients that observe until it is ended.
type load struct {
	t       *testing.T
	oracle  *harness.Oracle
	clients []*harness.Client
	enough  chan struct{}
	cancel  context.CancelFunc
	wait    sync.WaitGroup
}

func newLoad(t *testing.T, s *harness.Sidecar, clients int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, oracle: harness.NewOracle(), enough: make(chan struct{}), cancel: cancel}
	for n := range clients {
		c := &harness.Client{Name: fmt.Sprintf("client-%d", n), Conn: s.Connect(), Oracle: l.oracle, Window: 32}
		l.clients = append(l.clients, c)
		l.wait.Go(func() { _ = c.Run(ctx, l.enough) }) // ends with the load; what it was told is the oracle's to judge
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) end() { l.cancel(); l.wait.Wait() }

// acked is what clients were told so far, by client.
func (l *load) acked() map[string]uint64 {
	out := map[string]uint64{}
	for _, c := range l.clients {
		out[c.Name] = l.oracle.LastAck(c.Name)
	}
	return out
}

// reach waits until each client was told of so many.
func (l *load) reach(s *harness.Sidecar, each uint64) {
	l.t.Helper()
	s.Await(fmt.Sprintf("%d acks each", each), func() (bool, error) {
		for _, n := range l.acked() {
			if n < each {
				return false, nil
			}
		}
		return true, nil
	})
}

// observations are those of the lines of an export; each is there once.
func observations(t *testing.T, lines string) map[harness.Observation]bool {
	t.Helper()
	out := map[harness.Observation]bool{}
	for line := range strings.Lines(lines) {
		var e engramv1.Episode
		if err := protojson.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %.200q", err, line)
		}
		of, digest, err := harness.ObservationIn(&e)
		if err != nil || digest != harness.DigestOf(harness.EpisodeOf(of)) || out[of] || e.GetId() == "" {
			t.Fatalf("%v with id %q: twice (%v), or not what was sent, %v", of, e.GetId(), out[of], err)
		}
		out[of] = true
	}
	return out
}

// hold fails where something acked is not among what is there, but for what is excepted.
func hold(t *testing.T, acked map[string]uint64, there map[harness.Observation]bool, except ...harness.Observation) {
	t.Helper()
	for name, last := range acked {
		for n := uint64(1); n <= last; n++ {
			if of := (harness.Observation{Session: name, Sequence: n}); !there[of] && !slices.Contains(except, of) {
				t.Errorf("%v was acked and is not there", of)
				return
			}
		}
	}
}

// TestAfterAKill fills, kills, and does what an operator would: look, check, find a rotten byte, repair, take out what was
// not delivered, and give it to another sidecar, twice.
func TestAfterAKill(t *testing.T) {
	bin := harness.Binary(t)
	s := harness.NewSidecar(t, bin, "--store", "engram://"+harness.FreeAddress(t)) // nobody is there: all stays pending
	s.Start()
	l := newLoad(t, s, 2)
	l.reach(s, 300)
	s.Kill()
	l.end()
	acked := l.acked()

	var found struct {
		Balance harness.Balance
		Damages []struct {
			Session  string
			Sequence uint64
		}
	}
	if err := json.Unmarshal([]byte(expect(t, 0, bin, "journal", "inspect", "--json", "--data-dir", s.Dir)), &found); err != nil {
		t.Fatal(err)
	}
	if sum := acked["client-0"] + acked["client-1"]; found.Balance.Pending < sum || !found.Balance.Even() {
		t.Errorf("%d were acked, found %+v", sum, found.Balance)
	}
	expect(t, 0, bin, "journal", "verify", "--data-dir", s.Dir)
	hold(t, acked, observations(t, expect(t, 0, bin, "journal", "export", "--data-dir", s.Dir)))

	spoilt := harness.Observation{Session: "client-1", Sequence: 17}
	harness.Spoil(t, s.Dir, spoilt)
	verdict := expect(t, 1, bin, "journal", "verify", "--data-dir", s.Dir)
	session := sessionOf(t, bin, s.Dir, spoilt)
	if !strings.Contains(verdict, "session "+session+" sequence 17") {
		t.Errorf("verify says %q, expected session %s, sequence 17", verdict, session)
	}
	expect(t, 2, bin, "journal", "repair", "--data-dir", s.Dir)
	expect(t, 0, bin, "journal", "repair", "--dry-run", "--data-dir", s.Dir)
	expect(t, 0, bin, "journal", "repair", "--yes", "--data-dir", s.Dir)

	lines := expect(t, 0, bin, "journal", "export", "--data-dir", s.Dir)
	there := observations(t, lines)
	hold(t, acked, there, spoilt)
	file := filepath.Join(t.TempDir(), "pending.jsonl")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	other := harness.NewSidecar(t, bin)
	other.Start()
	for range 2 {
		expect(t, 0, bin, "observe", "--file", file, "--addr", other.Connect().CanonicalTarget()[len("passthrough:///"):], "--drain")
	}
	if status, err := other.Status(); err != nil || status.Store.Stored != uint64(len(there)) {
		t.Errorf("the other store holds %+v, want %d, %v", status, len(there), err)
	}
}

// sessionOf is the id of a client's session: that of its next observation's record.
func sessionOf(t *testing.T, bin, dir string, of harness.Observation) string {
	t.Helper()
	of.Sequence++
	if of.Sequence%2 != 0 {
		t.Fatal("every other observation has an id of its own: ask for one with an odd sequence")
	}
	for line := range strings.Lines(expect(t, 0, bin, "journal", "inspect", "--records", "--json", "--data-dir", dir)) {
		var r struct{ ID, Session string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.ID == harness.EpisodeOf(of).GetId() {
			return r.Session
		}
	}
	t.Fatalf("%v has no record", of)
	return ""
}

// TestBackupUnderLoad backs up while clients observe and the store takes it in, looks at the journal all the while, restores
// elsewhere and serves: everything acked before the backup is there, nothing twice.
func TestBackupUnderLoad(t *testing.T) {
	bin := harness.Binary(t)
	s := harness.NewSidecar(t, bin)
	s.Start()
	l := newLoad(t, s, 2)
	backup := filepath.Join(t.TempDir(), "backup")
	l.reach(s, 1500) // some generations, of which the first are given back by now or will be
	expect(t, 0, bin, "journal", "verify", "--data-dir", s.Dir)
	acked := l.acked()
	expect(t, 0, bin, "backup", backup, "--data-dir", s.Dir)
	expect(t, 0, bin, "journal", "inspect", "--data-dir", s.Dir)
	l.reach(s, acked["client-0"]+200) // it goes on
	expect(t, 0, bin, "journal", "verify", "--data-dir", backup)
	s.Kill()
	l.end()

	again := harness.NewSidecar(t, bin)
	expect(t, 0, bin, "restore", backup, "--data-dir", again.Dir)
	if _, _, code := run(t, bin, "restore", backup, "--data-dir", again.Dir); code == 0 {
		t.Error("restored over what is there")
	}
	again.Start()
	b := again.Drained()
	status, err := again.Status()
	if err != nil || !b.Even() || b.Damaged != 0 || status.Store.Stored != b.Accepted {
		t.Errorf("the store holds %d of %+v, %v", status.Store.Stored, b, err)
	}
	recallSome(t, again, acked)
}

// TestALookAtALiveDirectoryChangesNothing stops the process in the middle of its load, so that nothing but the look could.
func TestALookAtALiveDirectoryChangesNothing(t *testing.T) {
	bin := harness.Binary(t)
	s := harness.NewSidecar(t, bin)
	s.Start()
	l := newLoad(t, s, 2)
	for round := uint64(1); round <= 3; round++ {
		l.reach(s, 200*round)
		resume := freeze(t, s.Dir)
		acked, before := l.acked(), fingerprint(t, s.Dir)
		for _, look := range [][]string{{"inspect"}, {"inspect", "--records"}, {"verify", "--json"}, {"export"}} {
			out := expect(t, 0, bin, append(append([]string{"journal"}, look...), "--data-dir", s.Dir)...)
			if look[0] == "inspect" && len(look) == 1 && !strings.Contains(out, "in use by process") {
				t.Errorf("inspect does not say whose it is: %s", out)
			}
		}
		if fingerprint(t, s.Dir) != before {
			t.Error("the directory was changed")
		}
		resume()
		if t.Failed() {
			t.Fatalf("after %v", acked)
		}
	}
	l.end()
}

// freeze halts the process that holds a directory, and returns what lets it go on.
func freeze(t *testing.T, dir string) (resume func()) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	var pid int
	if err == nil {
		_, err = fmt.Sscanf(string(b), "process %d", &pid)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGSTOP)
	}
	if err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf("/proc/%d/stat", pid)
	for { // the signal is delivered when each of its threads has noticed
		if b, err := os.ReadFile(status); err != nil || bytes.Contains(b, []byte(") T ")) {
			break
		}
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) } // it may have been killed by the end of the test
}

// fingerprint is a hash over names, modes, sizes, times and bytes of a directory.
func fingerprint(t *testing.T, dir string) [sha256.Size]byte {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(sum, path, info.Mode(), info.Size(), info.ModTime())
		if !info.Mode().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		sum.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// recalled is how many of a session's observations are recalled, about: with the race detector each takes a tenth of a second.
const recalled = 100

// recallSome finds acked observations by their own vectors: of each session the first, the last, and what lies evenly between.
func recallSome(t *testing.T, s *harness.Sidecar, acked map[string]uint64) {
	t.Helper()
	rpc := engramv1.NewEngramServiceClient(s.Connect())
	wanted := make(chan harness.Observation)
	var missing atomic.Int64
	var ask sync.WaitGroup
	for range 16 { // recalls that wait share one pass over the store
		ask.Go(func() {
			for of := range wanted {
				if err := isThere(t.Context(), rpc, of); err != nil && missing.Add(1) <= 10 {
					t.Error(err)
				}
			}
		})
	}
	for name, last := range acked {
		step := max(1, last/recalled)
		for n := uint64(1); n <= last; n += step {
			wanted <- harness.Observation{Session: name, Sequence: n}
		}
		wanted <- harness.Observation{Session: name, Sequence: last}
	}
	close(wanted)
	ask.Wait()
	if n := missing.Load(); n > 0 {
		t.Errorf("%d acked observations are not there", n)
	}
}

// isThere recalls an observation by its own embedding: it comes first, and once.
func isThere(ctx context.Context, rpc engramv1.EngramServiceClient, of harness.Observation) error {
	e := harness.EpisodeOf(of)
	answer, err := rpc.Recall(ctx, &engramv1.RecallRequest{
		Cue: &engramv1.Cue{CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: e.GetEmbedding()}}}, MaxResults: 2,
	})
	if err != nil {
		return fmt.Errorf("recall %v: %w", of, err)
	}
	if m := answer.GetMemories(); len(m) == 0 || m[0].GetContent() != e.GetWhat() || len(m) > 1 && m[1].GetContent() == e.GetWhat() {
		return fmt.Errorf("recall of %v found %d memories, it is not the first and only one", of, len(m))
	}
	return nil
}
