package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestRetryOfAPendingWriteMakesNoSecondRecord(t *testing.T) {
	e := newEdge(t, Config{})
	records := func() int { return len(e.journal.records(wal.KindWrite)) }
	remember := func(r *pb.RememberRequest) {
		t.Helper()
		res, err := e.Remember(e.ctx, r)
		if err != nil || res.GetMemoryId() == "" || res.GetInitialState() != pb.ConsolidationState_CONSOLIDATION_STATE_RECENT {
			t.Fatalf("%v, %v", res, err)
		}
	}
	remember(rememberOf("mine", "thing"))
	remember(rememberOf("mine", "thing"))
	if n := records(); n != 1 {
		t.Errorf("a retry made %d records, want 1", n)
	}
	other := rememberOf("mine", "thing")
	other.GetMemory().Content = "another content"
	remember(other)
	remember(rememberOf("yours", "thing"))
	remember(rememberOf("mine", "thing-2"))
	if n := records(); n != 4 {
		t.Errorf("%d records, want 4: another content, space and id are other writes", n)
	}
	lived := &pb.ExperienceRequest{MemorySpaceId: "mine", Episode: episode("life")}
	for range 2 {
		if res, err := e.Experience(e.ctx, lived); err != nil || res.GetEpisodeId() != "life" {
			t.Fatalf("%v, %v", res, err)
		}
	}
	if n := records(); n != 5 {
		t.Errorf("%d records, want 5: an experience is no other", n)
	}
	remember(rememberOf("mine", ""))
	remember(rememberOf("mine", ""))
	if n := records(); n != 7 {
		t.Errorf("%d records, want 7: without an id each is a new one", n)
	}
	e.ledger.settle(e.journal.records(wal.KindWrite)[0].Index)
	remember(rememberOf("mine", "thing"))
	remember(rememberOf("mine", "thing"))
	if n := records(); n != 8 {
		t.Errorf("%d records, want 8: what was delivered is stored again, once while that is pending", n)
	}
}

// TestRetryOnAStreamMakesNoSecondRecord: whichever comes again after a call that was answered.
func TestRetryOnAStreamMakesNoSecondRecord(t *testing.T) {
	e := newEdge(t, Config{})
	stream, err := e.StreamingRemember(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	flow := e.flow()
	sequence := int64(0)
	calls := map[string]func(*pb.RememberRequest){
		"Remember": func(r *pb.RememberRequest) {
			if _, err := e.Remember(e.ctx, r); err != nil {
				t.Fatal(err)
			}
		},
		"StreamingRemember": func(r *pb.RememberRequest) {
			if err := stream.Send(r); err != nil {
				t.Fatal(err)
			}
			if res, err := stream.Recv(); err != nil || res.GetMemoryId() != r.GetMemory().GetId() {
				t.Fatalf("%v, %v", res, err)
			}
		},
		"MemoryFlow": func(r *pb.RememberRequest) {
			sequence++
			flow.remember(sequence, r)
			flow.remembered(sequence, r.GetMemory().GetId())
		},
	}
	for first, begin := range map[string]func(*pb.RememberRequest){"Remember": calls["Remember"]} {
		for second, again := range calls {
			t.Run(first+", then "+second, func(t *testing.T) {
				before := len(e.journal.records(wal.KindWrite))
				want := func(n int, why string) {
					t.Helper()
					if got := len(e.journal.records(wal.KindWrite)) - before; got != n {
						t.Errorf("%d records, want %d: %s", got, n, why)
					}
				}
				thing := rememberOf("mine", first+second)
				begin(thing)
				again(thing)
				again(thing)
				want(1, "the first is pending")
				other := rememberOf("mine", first+second)
				other.GetMemory().Content = "another content"
				again(other)
				want(2, "another content is another write")
				begin(thing)
				want(3, "the first content is a new version now")
				all := e.journal.records(wal.KindWrite)
				e.ledger.settle(all[len(all)-1].Index)
				again(thing)
				want(4, "what was delivered is stored again")
			})
		}
	}
}

func TestRetryWhileTheFirstWaitsForItsFsync(t *testing.T) {
	e := newEdge(t, Config{})
	e.journal.hold()
	ctx, cancel := context.WithCancel(e.ctx)
	failed := make(chan error, 1)
	go func() {
		_, err := e.Remember(ctx, rememberOf("", "thing"))
		failed <- err
	}()
	e.journal.awaitFilling(1)
	cancel()
	wantStatus(t, <-failed, codes.Canceled)
	answered := make(chan error, 3)
	for range cap(answered) {
		go func() {
			_, err := e.Remember(e.ctx, rememberOf("", "thing"))
			answered <- err
		}()
	}
	select {
	case err := <-answered:
		t.Fatalf("answered before the fsync: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	e.journal.release()
	for range cap(answered) {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if n := len(e.journal.records(wal.KindWrite)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestRetryOfARefusedWriteIsAWrite(t *testing.T) {
	e := newEdge(t, Config{})
	e.journal.set(func() { e.journal.refuse = wal.ErrFull })
	_, err := e.Remember(e.ctx, rememberOf("", "thing"))
	wantStatus(t, err, codes.ResourceExhausted)
	if _, err := e.Remember(e.ctx, rememberOf("", "thing")); err != nil {
		t.Error(err)
	}
	if n := len(e.journal.records(wal.KindWrite)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

// TestRetryOfWhatAFullDiskTookBack: another record has the index by then, and is pending. It stands for nothing but itself.
func TestRetryOfWhatAFullDiskTookBack(t *testing.T) {
	for name, write := range map[string]func(*edge, *pb.RememberRequest) error{
		"Remember": func(e *edge, r *pb.RememberRequest) error {
			_, err := e.Remember(e.ctx, r)
			return err
		},
		"StreamingRemember": func(e *edge, r *pb.RememberRequest) error {
			stream, err := e.StreamingRemember(e.ctx)
			if err == nil {
				err = stream.Send(r)
			}
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"MemoryFlow": func(e *edge, r *pb.RememberRequest) error {
			c := e.flow()
			c.remember(1, r)
			if res, err := c.stream.Recv(); err != nil || res.GetStatus() != nil {
				return errors.Join(err, errors.New(res.String()))
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Config{})
			e.journal.set(func() { e.journal.refuse = wal.ErrFull })
			if err := write(e, rememberOf("", "thing")); err == nil {
				t.Fatal("the full disk took it")
			}
			if err := write(e, rememberOf("", "another")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := write(e, rememberOf("", "thing")); err != nil {
					t.Fatal(err)
				}
			}
			ids := map[string]int{}
			for _, r := range e.journal.records(wal.KindWrite) {
				ids[string(r.ID)]++
			}
			if ids["another"] != 1 || ids["thing"] == 0 {
				t.Errorf("the journal holds %v: what was acked has no record", ids)
			}
		})
	}
}

// TestAnOlderVersionThatComesAgainIsNew: between the two the memory became another, and what is written last counts.
func TestAnOlderVersionThatComesAgainIsNew(t *testing.T) {
	older, newer := rememberOf("", "thing"), rememberOf("", "thing")
	newer.GetMemory().Content = "another content"
	for name, between := range map[string]func(*edge){
		"by another Remember": func(e *edge) {
			if _, err := e.Remember(e.ctx, newer); err != nil {
				e.t.Fatal(err)
			}
		},
		"on a stream of writes": func(e *edge) {
			stream, err := e.StreamingRemember(e.ctx)
			if err != nil {
				e.t.Fatal(err)
			}
			if err := stream.Send(newer); err != nil {
				e.t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				e.t.Fatal(err)
			}
		},
		"by an observation": func(e *edge) {
			c := e.begin("", &pb.StreamInit{})
			c.send(observationOf(1, episode("thing")))
			c.recv()
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Config{})
			if _, err := e.Remember(e.ctx, older); err != nil {
				t.Fatal(err)
			}
			between(e)
			for range 2 { // the second is a retry of the first
				if _, err := e.Remember(e.ctx, older); err != nil {
					t.Fatal(err)
				}
			}
			records := e.journal.records(wal.KindWrite)
			if len(records) != 3 || !bytes.Equal(records[2].Payload, records[0].Payload) {
				t.Errorf("%d records, want 3, the last of which is the first again", len(records))
			}
		})
	}
}

// TestRetryKnowsWhichOfTwoAtOnceIsNewest: the one that was begun last need not be the one that the journal took last.
func TestRetryKnowsWhichOfTwoAtOnceIsNewest(t *testing.T) {
	var r retries
	memory, older, newer := digest{1}, digest{2}, digest{3}
	first, _ := r.begin(memory, newer, nil)
	second, _ := r.begin(memory, older, nil)
	r.finish(memory, second, 7)
	if a, own := r.begin(memory, older, nil); own || a != second {
		t.Error("the newest is not known")
	}
	if index, ok := r.again(memory, older); !ok || index != 7 {
		t.Errorf("a stream is told of %d, %v", index, ok)
	}
	r.finish(memory, first, 8)
	if _, ok := r.again(memory, older); ok {
		t.Error("an older version passes for the newest on a stream")
	}
	if _, own := r.begin(memory, older, nil); !own {
		t.Error("an older version passes for the newest")
	}
}

func TestRetriesAreBounded(t *testing.T) {
	var r retries
	key := func(n int) digest { return memoryDigest("space", fmt.Append(nil, n)) }
	for n := range 2*maxRetries + 5 {
		a, own := r.begin(key(n), digest{}, nil)
		if !own {
			t.Fatalf("%d is known already", n)
		}
		r.finish(key(n), a, uint64(n)+1)
	}
	if len(r.known) != maxRetries || len(r.order) != maxRetries {
		t.Errorf("%d are known, %d in order, want %d", len(r.known), len(r.order), maxRetries)
	}
	if _, own := r.begin(key(maxRetries+5), digest{}, nil); own {
		t.Error("one of the newest is forgotten")
	}
	if _, own := r.begin(key(maxRetries+4), digest{}, nil); !own {
		t.Error("one that is too old is known")
	}
}
