package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// hashOf is a hash over names, modes, times and bytes of a directory.
func hashOf(t *testing.T, dir string) string {
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
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			sum.Write(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// stopped is a data directory with these records accepted and nothing delivered.
func stopped(t *testing.T, records ...wal.Record) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := recovery.Open(recovery.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if _, err := s.Journal.Write(t.Context(), &records[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

var one = wal.SessionID{15: 1}

// accepted is an observation, or a memory, of session one.
func accepted(t *testing.T, sequence uint64, space, id string, form wal.Form, m proto.Message) wal.Record {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return wal.Record{
		Kind: wal.KindWrite, Form: form, Lane: wal.LaneNormal, Session: one, Sequence: sequence, Space: space, ID: []byte(id), Payload: b,
	}
}

func episode(what string) *engramv1.Episode {
	return &engramv1.Episode{What: what, Embedding: embedding.Text(what)}
}

func threeNotes(t *testing.T) string {
	t.Helper()
	var records []wal.Record
	for i, what := range []string{"rain", "snow", "hail"} {
		records = append(records, accepted(t, uint64(i)+1, "default", what+"-id", wal.FormEpisode, episode(what)))
	}
	return stopped(t, records...)
}

// rot damages the payload of an observation that says what, and returns its segment.
func rot(t *testing.T, dir, what string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "journal", "*", "0*1"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	b, err := os.ReadFile(found[0])
	at := strings.Index(string(b), "\x1a\x04"+what) // the field what, four bytes long
	if err != nil || at < 0 {
		t.Fatal(at, err)
	}
	b[at+2] ^= 1
	if err := os.WriteFile(found[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	return found[0]
}

func TestJournalOfAWholeDirectory(t *testing.T) {
	dir := threeNotes(t)
	before := hashOf(t, dir)
	call("", "journal", "inspect", "--data-dir", dir).wants(t, 0, "accepted 3 = delivered 0 + pending 3 + dead 0", "")
	call("", "journal", "inspect", "--records", "--data-dir", dir).wants(t, 0, one.String()+" 2 default snow-id", "")
	call("", "journal", "verify", "--data-dir", dir).wants(t, 0, "whole: 4 records in 1 generations", "")
	call("", "journal", "repair", "--dry-run", "--data-dir", dir).wants(t, 0, "nothing to repair", "")
	var f found
	if o := call("", "journal", "inspect", "--json", "--data-dir", dir); json.Unmarshal([]byte(o.stdout), &f) != nil || f.Records != 4 ||
		f.Balance.Pending != 3 || len(f.Segments) != 1 || f.Segments[0].Last != 4 || f.Holder != "" || f.Format != 1 {
		t.Errorf("%+v of %+v", f, o)
	}
	o := call("", "journal", "inspect", "--records", "--json", "--data-dir", dir)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	var l listed
	if len(lines) != 4 || json.Unmarshal([]byte(lines[3]), &l) != nil || l.ID != "hail-id" || l.Sequence != 3 || l.Fate != "pending" || l.Kind != "write" {
		t.Errorf("%+v of %q", l, lines)
	}
	if strings.Contains(o.stdout, `"hail"`) {
		t.Error("a list of records shows what one says")
	}
	if hashOf(t, dir) != before {
		t.Error("the directory was changed")
	}
}

// TestAListIsHarmlessOnATerminal has a client's id clear the screen, add a column, and turn what follows around.
func TestAListIsHarmlessOnATerminal(t *testing.T) {
	dir := stopped(t, accepted(t, 1, "default", "a\x1b[2Jb c\u202e\u009b\n", wal.FormEpisode, episode("rain")))
	for _, flags := range [][]string{{}, {"--json"}} {
		o := call("", append([]string{"journal", "inspect", "--records", "--data-dir", dir}, flags...)...)
		if o.code != 0 || strings.ContainsAny(o.stdout, "\x1b\u202e\u009b") || strings.Count(o.stdout, "\n") != 2 {
			t.Errorf("%v: %q", flags, o.stdout)
		}
	}
	call("", "journal", "inspect", "--records", "--data-dir", dir).wants(t, 0, " a[2Jb_c_ ", "")
}

func TestJournalOfADamagedDirectory(t *testing.T) {
	dir := threeNotes(t)
	segment := rot(t, dir, "snow")
	before := hashOf(t, dir)
	o := call("", "journal", "verify", "--data-dir", dir)
	o.wants(t, 1, "DAMAGE "+segment+" offset ", "damaged in 1 places")
	for _, says := range []string{"session " + one.String() + " sequence 2", "index 3 to 3", "space default"} {
		if !strings.Contains(o.stdout, says) {
			t.Errorf("%q does not say %q", o.stdout, says)
		}
	}
	var f found
	o = call("", "journal", "verify", "--json", "--data-dir", dir)
	if o.code != 1 || json.Unmarshal([]byte(o.stdout), &f) != nil || len(f.Damages) != 1 || f.Damages[0].Sequence != 2 ||
		f.Damages[0].Session != one.String() || f.Damages[0].Offset == 0 || f.Lost != 1 {
		t.Errorf("%+v of %+v", f, o)
	}
	call("", "journal", "inspect", "--data-dir", dir).wants(t, 0, "DAMAGED in 1 places", "")
	call("", "journal", "repair", "--dry-run", "--data-dir", dir).wants(t, 0, "keep a copy of the damaged generation 1", "")
	if hashOf(t, dir) != before {
		t.Error("the directory was changed")
	}
	call("", "journal", "repair", "--yes", "--data-dir", dir).wants(t, 0, "done: recovered", "")
	if kept, err := filepath.Glob(filepath.Join(recovery.QuarantineDir(dir), "damaged-*")); len(kept) != 1 || err != nil {
		t.Errorf("in quarantine are %v, %v", kept, err)
	}
	call("", "journal", "verify", "--data-dir", dir).wants(t, 1, "sequence 2", "damaged")
	call("", "journal", "repair", "--dry-run", "--data-dir", dir).wants(t, 0, "nothing to repair", "")
	o = call("", "journal", "export", "--data-dir", dir)
	if strings.Count(o.stdout, "\n") != 2 || strings.Contains(o.stdout, "snow") {
		t.Errorf("exported %.200q", o.stdout)
	}
}

// TestATornTailIsNoDamage: verify says it, and repair cuts it.
func TestATornTailIsNoDamage(t *testing.T) {
	dir := threeNotes(t)
	found, err := filepath.Glob(filepath.Join(dir, "journal", "*", "0*1"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found[0], append(b, b[len(b)-900:len(b)-400]...), 0o600); err != nil {
		t.Fatal(err)
	}
	call("", "journal", "verify", "--data-dir", dir).wants(t, 0, "never acknowledged: the next start cuts it", "")
	call("", "journal", "repair", "--dry-run", "--data-dir", dir).wants(t, 0, "cut the torn tail of generation 1", "")
	call("", "journal", "repair", "--yes", "--data-dir", dir).wants(t, 0, "cut 500 bytes of a torn tail", "")
	if o := call("", "journal", "verify", "--data-dir", dir); o.code != 0 || strings.Contains(o.stdout, "torn") {
		t.Errorf("after the repair: %+v", o)
	}
}

func TestJournalBesideARunningSidecar(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := serveHere(t, dir, "--store", "engram://"+closedAddress(t))
	call("one\ntwo\nthree\n", "observe", "--addr", r.address).wants(t, 0, "acked 3", "")
	before := hashOf(t, filepath.Join(dir, "journal"))
	call("", "journal", "inspect", "--data-dir", dir).wants(t, 0, "in use by process", "")
	call("", "journal", "inspect", "--data-dir", dir).wants(t, 0, "pending 3 at most", "")
	call("", "journal", "verify", "--data-dir", dir).wants(t, 0, "whole: ", "")
	call("", "journal", "repair", "--dry-run", "--data-dir", dir).wants(t, exitInUse, "", "stop it first")
	call("", "journal", "repair", "--yes", "--data-dir", dir).wants(t, exitInUse, "", "stop it first")
	if o := call("", "journal", "export", "--data-dir", dir); strings.Count(o.stdout, "\n") != 3 || o.code != 0 {
		t.Errorf("exported %.100q, %q", o.stdout, o.stderr)
	}
	if hashOf(t, filepath.Join(dir, "journal")) != before {
		t.Error("the journal was changed")
	}
	if code := r.stop(); code != 0 {
		t.Errorf("stopped with %d", code)
	}
}
