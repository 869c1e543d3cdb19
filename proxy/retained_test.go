package proxy

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// padding is a field that no definition of ours has, of n bytes.
func padding(n int) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, 1007, protowire.BytesType), make([]byte, n))
}

// judged makes the record of an observation, as the receiver does.
func judged(t *testing.T, r *pb.ObservationRequest) *observation {
	t.Helper()
	o := &observation{idText: "7f9c24e5-2f57-4f9b-8f0a-0d8c3f1a2b3c", space: "default", lane: wal.LaneNormal}
	o.s = &Server{cfg: Config{}.withDefaults()}
	if err := newFrameCodec().Unmarshal(encode(t, r), &o.in.frame); err != nil {
		t.Fatal(err)
	}
	o.scan(t)
	if err := o.judge(); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRecordDoesNotKeepThePaddingOfItsMessage(t *testing.T) {
	for _, row := range []struct {
		name string
		id   string
		pad  int
		kept bool // the message stays in memory with its record
	}{
		{"ordinary", "mine", 0, true},
		{"ordinary, made id", "", 0, true},
		{"a little around it", "mine", 600, true},
		{"padded", "mine", 1_000_000, false},
		{"padded, made id", "", 1_000_000, false},
		{"just too much", "", 1200, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := observationOf(7, episode(row.id))
			r.ProtoReflect().SetUnknown(padding(row.pad))
			o := judged(t, r)
			record := &o.in.record
			payload, id := bytes.Clone(record.Payload), bytes.Clone(record.ID)
			var stored pb.Episode
			if err := proto.Unmarshal(payload, &stored); err != nil || stored.GetId() != string(id) || len(id) == 0 {
				t.Fatalf("%v: stored with id %q, journaled with %q", err, stored.GetId(), id)
			}
			clear(o.in.frame[:cap(o.in.frame)])
			if kept := !bytes.Equal(record.Payload, payload) && !bytes.Equal(record.ID, id); kept != row.kept {
				t.Errorf("the record lies in its message of %d bytes: %v, want %v", len(o.in.frame), kept, row.kept)
			}
			if n := cap(record.Payload) + cap(record.ID); n > len(payload)+len(id) {
				t.Errorf("%d bytes are kept for %d", n, len(payload)+len(id))
			}
		})
	}
}

func TestPaddedObservationIsJournaledWithoutIt(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	r := observationOf(1, episode("mine"))
	r.ProtoReflect().SetUnknown(padding(1_000_000))
	c.send(r)
	if got := c.recv().GetAck().GetMemoryId(); got != "mine" {
		t.Errorf("acked as %q", got)
	}
	want, err := proto.Marshal(episode("mine"))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.journal.records(wal.KindWrite)[0]; !bytes.Equal(got.Payload, want) || string(got.ID) != "mine" {
		t.Errorf("journaled %d bytes with id %q, want %d", len(got.Payload), got.ID, len(want))
	}
}

// A request is journaled whole, so whatever a client puts into it is charged as payload.
func TestRememberedRequestIsChargedForAllItKeeps(t *testing.T) {
	e := newEdge(t, Config{})
	for _, id := range []string{"mine", ""} {
		r := rememberOf("", id)
		r.ProtoReflect().SetUnknown(padding(1_000_000))
		if _, err := e.Remember(e.ctx, r); err != nil {
			t.Fatal(err)
		}
		x := &pb.ExperienceRequest{Episode: episode(id)}
		x.ProtoReflect().SetUnknown(padding(1_000_000))
		if _, err := e.Experience(e.ctx, x); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range e.journal.records(wal.KindWrite) {
		if over := cap(r.Payload) - len(r.Payload); len(r.Payload) < 1_000_000 || over > keptSlack {
			t.Errorf("%v: charged %d bytes, keeps %d more", r.Form, len(r.Payload), over)
		}
	}
}

func TestRecalledPendingIsACopy(t *testing.T) {
	body, err := proto.Marshal(along("mine", 0.9))
	if err != nil {
		t.Fatal(err)
	}
	r := wal.Record{Index: 1, Form: wal.FormEpisode, ID: []byte("mine"), Payload: bytes.Clone(body)}
	o := newOverlay(store.Query{K: 1, Vector: vector(1)})
	o.add(&r)
	clear(r.ID)
	clear(r.Payload)
	if hits := o.merge(nil); len(hits) != 1 || hits[0].ID != "mine" || !bytes.Equal(hits[0].Body, body) {
		t.Error("a hit lies in the buffer that its record was read into")
	}
}
