package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// unpacked returns an Episode whose embedding is 768 fields of one float each, with an unknown field between them.
func unpacked(id string, vector []float32) []byte {
	var b []byte
	for i, v := range vector {
		if i == 100 {
			b = protowire.AppendTag(b, 99, protowire.VarintType)
			b = protowire.AppendVarint(b, 12345)
		}
		b = protowire.AppendTag(b, 4, protowire.Fixed32Type)
		b = appendFloat(b, v)
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendString(b, id)
}

func appendFloat(b []byte, v float32) []byte {
	all := make([]float32, store.Dimensions)
	all[0] = v
	return append(b, appendFloats(nil, all)[:4]...)
}

// twoChunks returns an Episode whose embedding comes in two packed runs.
func twoChunks(id string, vector []float32) []byte {
	raw := appendFloats(nil, vector)
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	b = protowire.AppendString(b, id)
	for _, part := range [][]byte{raw[:400], raw[400:]} {
		b = protowire.AppendTag(b, 4, protowire.BytesType)
		b = protowire.AppendBytes(b, part)
	}
	return b
}

// TestPayloadsComeBack stores messages of all layouts and expects every byte of them back, after a new start too.
func TestPayloadsComeBack(t *testing.T) {
	records := []wal.Record{
		storetest.Record(wal.FormEpisode, 1, garden, "episode", "text", storetest.Vector(1)),
		storetest.Record(wal.FormRemember, 2, garden, "memory", "text", storetest.Vector(2)),
		storetest.Record(wal.FormExperience, 3, garden, "experience", "text", storetest.Vector(3)),
		storetest.Record(wal.FormEpisode, 4, garden, "zeros", strings.Repeat("\x00", 5000), make([]float32, store.Dimensions)),
		storetest.Record(wal.FormEpisode, 5, garden, strings.Repeat("i", maxID), strings.Repeat("long ", 50_000), storetest.Vector(5)),
		{Form: wal.FormEpisode, Index: 6, Space: garden, Payload: unpacked("unpacked", storetest.Vector(6))},
		{Form: wal.FormEpisode, Index: 7, Space: garden, Payload: twoChunks("chunks", storetest.Vector(7))},
		storetest.Record(wal.FormEpisode, 8, garden, "named in the record", "", storetest.Vector(8)),
	}
	records[7].ID = []byte("the record's name")
	dir := quickDir(t)
	for range 2 {
		s := open(t, dir, Config{})
		mustPut(t, s, records...)
		for i := range records {
			r := &records[i]
			answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(r.Index), K: len(records), Threshold: -1})
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(answer.Hits, func(h store.Hit) bool { return h.Version == r.Index })
			if at < 0 {
				t.Fatalf("record %d is not there", r.Index)
			}
			h := answer.Hits[at]
			if !bytes.Equal(h.Body, r.Payload) || h.Form != r.Form {
				t.Errorf("record %d came back as %v of %d bytes, it was %v of %d", r.Index, h.Form, len(h.Body), r.Form, len(r.Payload))
			}
			if i != 3 && (at != 0 || h.Score < 0.9999) {
				t.Errorf("record %d scores %v with its own vector, in place %d", r.Index, h.Score, at)
			}
		}
		if answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(8), K: 1}); err != nil || answer.Hits[0].ID != "the record's name" {
			t.Errorf("expected the record's name, got %+v, %v", answer.Hits, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVectorsAreStoredOnce is why bodies have a hole: a memory takes little more than its message.
func TestVectorsAreStoredOnce(t *testing.T) {
	dir := quickDir(t)
	s := open(t, dir, Config{})
	records := tulips(1, 100)
	mustPut(t, s, records...)
	var payloads int64
	for i := range records {
		payloads += int64(len(records[i].Payload))
	}
	files := size(t, segmentPath(dir, vectorsPrefix, 0)) + size(t, segmentPath(dir, bodiesPrefix, 0))
	if files > payloads+100*100 {
		t.Errorf("%d bytes of messages take %d bytes", payloads, files)
	}
	if st := s.Stats(); st.Bytes <= files || st.Bytes > files+1<<20 || st.Segments != 1 {
		t.Errorf("%+v for %d bytes", st, files)
	}
}

func TestPutRefuses(t *testing.T) {
	s := open(t, quickDir(t), small())
	good := tulip(1, 1)
	for _, row := range []struct {
		name, want string
		change     func(r *wal.Record)
	}{
		{"no index", "index: expected the record's place in the journal, got 0", func(r *wal.Record) { r.Index = 0 }},
		{"no space", "memory space: expected a name of 1 to 255 bytes, got 0", func(r *wal.Record) { r.Space = "" }},
		{"long space", "got 256", func(r *wal.Record) { r.Space = strings.Repeat("s", 256) }},
		{"no form", "form: expected an Episode, a RememberRequest or an ExperienceRequest, got form 0", func(r *wal.Record) { r.Form = 0 }},
		{"long id", "memory id: expected 1 to 256 bytes, got 257", func(r *wal.Record) { r.ID = make([]byte, 257) }},
		{"no id", "memory id: expected 1 to 256 bytes, got 0", func(r *wal.Record) {
			r.ID = nil
			r.Payload = storetest.Record(r.Form, 1, garden, "", "", storetest.Vector(1)).Payload
		}},
		{"another message", "embedding", func(r *wal.Record) { r.Payload = []byte{0x0a, 0x01, 'x'} }},
		{"huge", "payload: expected at most 16777216 bytes", func(r *wal.Record) { r.Payload = make([]byte, wal.MaxPayload+1) }},
	} {
		bad := good
		row.change(&bad)
		errs := s.Put(t.Context(), []wal.Record{bad, tulip(2, 2)})
		if store.ClassOf(errs[0]) != store.ClassPermanent || !strings.Contains(errs[0].Error(), row.want) {
			t.Errorf("%s: expected a permanent refusal with %q, got %v", row.name, row.want, errs[0])
		}
		if errs[1] != nil {
			t.Errorf("%s: the other one: %v", row.name, errs[1])
		}
	}
	wantTulips(t, s, 2, 2)
}

// TestOneTurn has a Put wait for another, and give up when its context ends.
func TestOneTurn(t *testing.T) {
	d := osDisk()
	inside, goOn := make(chan struct{}), make(chan struct{})
	d.commit = func() error {
		inside <- struct{}{}
		<-goOn
		return nil
	}
	s := open(t, quickDir(t), Config{disk: d})
	first := make(chan []error)
	go func() { first <- s.Put(context.Background(), tulips(1, 1)) }() // waited for below
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := s.Put(ctx, tulips(2, 1))[0]
	if !errors.Is(err, context.DeadlineExceeded) || store.ClassOf(err) != store.ClassTransient {
		t.Errorf("expected the context's error, got %v", err)
	}
	if n := s.Count(garden); n != 0 {
		t.Errorf("%d memories are there before their commit", n)
	}
	close(goOn)
	if err := (<-first)[0]; err != nil {
		t.Error(err)
	}
	go func() { <-inside }() // ends with the next Put
	mustPut(t, s, tulips(1, 2)...)
	wantTulips(t, s, 1, 2)
}

// TestRecallWhilePutting replaces memories again and again while others recall them: each answer must hold every id once,
// in some version, and never go back to an older one.
func TestRecallWhilePutting(t *testing.T) {
	const ids, versions = 30, 60
	s := open(t, quickDir(t), Config{SegmentRows: 64, Workers: 2})
	mustPut(t, s, tulips(1, ids)...)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			newest := map[string]uint64{}
			for {
				if err := checkAll(s, ids, newest); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for v := 1; v <= versions; v++ {
		batch := make([]wal.Record, 0, ids/2)
		for k := 1 + v%2; k <= ids; k += 2 {
			batch = append(batch, tulip(k, v*1000+k))
		}
		mustPut(t, s, batch...)
	}
	close(done)
	readers.Wait()
}

// TestManyVersions stores one memory again and again: a recall must not look through all that it was before.
func TestManyVersions(t *testing.T) {
	dir := quickDir(t)
	s := open(t, dir, Config{SegmentRows: 256})
	mustPut(t, s, tulips(1, 20)...)
	index := 1000
	for range 2 * sweepAbove / 20 {
		batch := make([]wal.Record, 0, 20)
		for k := 1; k <= 20; k++ {
			index++
			batch = append(batch, tulip(k, index))
		}
		mustPut(t, s, batch...)
		if n := len(s.spaces[garden].rows); n > sweepAbove+40 {
			t.Fatalf("%d rows are looked at for 20 memories", n)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Config{})
	if got := holds(t, s, garden); len(got) != 20 || s.Count(garden) != 20 || got[0].Version <= uint64(index-20) {
		t.Errorf("%d memories, %d counted", len(got), s.Count(garden))
	}
	if n := len(s.spaces[garden].rows); n != 20 {
		t.Errorf("%d rows are looked at after a new start", n)
	}
}

func checkAll(s *Store, ids int, newest map[string]uint64) error {
	answer, err := s.Recall(context.Background(), store.Query{Space: garden, Vector: storetest.Vector(1), K: 2 * ids, Threshold: -1})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, h := range answer.Hits {
		if seen[h.ID] || h.Version < newest[h.ID] {
			return fmt.Errorf("%s: twice %v, version %d after %d", h.ID, seen[h.ID], h.Version, newest[h.ID])
		}
		seen[h.ID], newest[h.ID] = true, h.Version
	}
	if len(seen) != ids || answer.Considered != ids {
		return fmt.Errorf("%d ids of %d, %d considered", len(seen), ids, answer.Considered)
	}
	return nil
}
