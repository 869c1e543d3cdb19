package engram

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// long is a timeout that no test lets pass; short is one that a test waits for.
const (
	long  = time.Minute
	short = 50 * time.Millisecond
)

// classes names what became of each item of a batch.
func classes(errs []error) (names []string) {
	for _, err := range errs {
		switch {
		case errors.Is(err, store.ErrBehind):
			names = append(names, "behind")
		case err == nil:
			names = append(names, "ok")
		default:
			names = append(names, store.ClassOf(err).String())
		}
	}
	return names
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestPutKeepsOrderAndStream(t *testing.T) {
	f := newFake(t)
	s := f.open(t, long)
	all := records(t, 1, 1, 400)
	for batch := range slices.Chunk(all, 100) {
		for i, err := range s.Put(t.Context(), batch) {
			if err != nil {
				t.Fatalf("%s: %v", batch[i].ID, err)
			}
		}
	}
	want(t, "stored", f.stored, ids(all))
	if f.opened != 1 || len(f.alone) != 0 {
		t.Errorf("%d streams and %d single calls, want 1 and 0", f.opened, len(f.alone))
	}
	if errs := s.Put(t.Context(), nil); len(errs) != 0 {
		t.Errorf("an empty batch: %v, want nothing", errs)
	}
}

func TestPutByClassOfRefusal(t *testing.T) {
	// Two sessions take turns; the third item is refused.
	batch := []wal.Record{record(t, 1, 1), record(t, 2, 1), record(t, 1, 2), record(t, 2, 2), record(t, 1, 3), record(t, 0, 9)}
	const culprit = "s1-2"
	goOn := []string{"ok", "ok", "permanent", "ok", "ok", "ok"}
	hold := []string{"ok", "ok", "transient", "ok", "behind", "ok"}
	deny := []string{"ok", "ok", "denied", "denied", "denied", "denied"}
	down := []string{"ok", "ok", "unavailable", "unavailable", "unavailable", "unavailable"}
	for code, becomes := range map[codes.Code][]string{
		codes.InvalidArgument: goOn, codes.OutOfRange: goOn,
		codes.Unauthenticated: deny, codes.PermissionDenied: deny, codes.Unimplemented: deny, codes.NotFound: deny,
		codes.Unavailable: down, codes.DeadlineExceeded: down,
		codes.Internal: hold, codes.Unknown: hold, codes.ResourceExhausted: hold, codes.Aborted: hold,
		codes.FailedPrecondition: hold, codes.Canceled: hold, codes.DataLoss: hold,
	} {
		t.Run(code.String(), func(t *testing.T) {
			f := newFake(t)
			f.refuse[culprit] = status.Error(code, "not this one")
			s := f.open(t, long)
			errs := s.Put(t.Context(), batch)
			want(t, "classes", classes(errs), becomes)
			var stored []string
			for i, class := range becomes {
				if class == "ok" {
					stored = append(stored, string(batch[i].ID))
				}
			}
			want(t, "stored", f.stored, stored)
			if got := status.Code(errs[2]); got != code {
				t.Errorf("the error says %v, want %v: %v", got, code, errs[2])
			}
		})
	}
}

func TestPutSendsCulpritAloneAndTheRestByStream(t *testing.T) {
	f := newFake(t)
	f.refuse["s1-3"] = status.Error(codes.InvalidArgument, "not this one")
	s := f.open(t, long)
	batch := records(t, 1, 1, 9)
	s.Put(t.Context(), batch)
	want(t, "sent alone", f.alone, []string{"s1-3", "s1-4"})
	want(t, "stored", f.stored, slices.Delete(ids(batch), 2, 3))
	if f.opened != 2 {
		t.Errorf("%d streams, want 2", f.opened)
	}
}

func TestPutOfRefusedItemsOnlyOpensOneStream(t *testing.T) {
	f := newFake(t)
	batch := records(t, 1, 1, 20)
	for _, id := range ids(batch) {
		f.refuse[id] = status.Error(codes.InvalidArgument, "not this one")
	}
	s := f.open(t, long)
	for _, err := range s.Put(t.Context(), batch) {
		if store.ClassOf(err) != store.ClassPermanent {
			t.Errorf("%v, want permanent", err)
		}
	}
	if f.opened != 1 || len(f.alone) != len(batch) {
		t.Errorf("%d streams and %d single calls, want 1 and %d", f.opened, len(f.alone), len(batch))
	}
}

func TestPutAfterLostAnswer(t *testing.T) {
	t.Run("the connection broke: sent again later", func(t *testing.T) {
		f := newFake(t)
		f.drop["s1-2"] = status.Error(codes.Unavailable, "going down")
		s := f.open(t, long)
		batch := records(t, 1, 1, 3)
		want(t, "classes", classes(s.Put(t.Context(), batch)), []string{"ok", "unavailable", "unavailable"})
		want(t, "classes", classes(s.Put(t.Context(), batch[1:])), []string{"ok", "ok"})
		want(t, "stored", f.stored, []string{"s1-1", "s1-2", "s1-2", "s1-3"})
	})
	t.Run("the stream broke: confirmed at once", func(t *testing.T) {
		f := newFake(t)
		f.drop["s1-2"] = status.Error(codes.Internal, "lost my way")
		s := f.open(t, long)
		want(t, "classes", classes(s.Put(t.Context(), records(t, 1, 1, 3))), []string{"ok", "ok", "ok"})
		want(t, "stored", f.stored, []string{"s1-1", "s1-2", "s1-2", "s1-3"})
	})
	t.Run("the server ended the stream in peace", func(t *testing.T) {
		f := newFake(t)
		f.cut["s1-2"] = true
		s := f.open(t, long)
		errs := s.Put(t.Context(), records(t, 1, 1, 3))
		want(t, "classes", classes(errs), []string{"ok", "unavailable", "unavailable"})
		if !errors.Is(errs[1], errEnded) {
			t.Errorf("%v, want %v", errs[1], errEnded)
		}
	})
}

func TestPutToSilentServer(t *testing.T) {
	for first, becomes := range map[string][]string{
		"s1-1": {"unavailable", "unavailable", "unavailable"},
		"s1-2": {"ok", "unavailable", "unavailable"},
	} {
		t.Run("silent from "+first, func(t *testing.T) {
			f := newFake(t)
			f.deaf[first] = true
			s := f.open(t, short)
			batch := records(t, 1, 1, 3)
			errs := s.Put(t.Context(), batch)
			want(t, "classes", classes(errs), becomes)
			if !errors.Is(errs[1], errSilent) {
				t.Errorf("%v, want %v", errs[1], errSilent)
			}
			f.set(func() { f.deaf = nil })
			want(t, "once it answers again", classes(s.Put(t.Context(), batch[1:])), []string{"ok", "ok"})
		})
	}
}

func TestPutEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	f.deaf["s1-2"] = true
	s := f.open(t, long)
	why := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-f.reached
		cancel(why)
	}()
	errs := s.Put(ctx, records(t, 1, 1, 3))
	want(t, "classes", classes(errs[1:]), []string{"unavailable", "unavailable"}) // the first answer may be on its way
	if !errors.Is(errs[2], why) {
		t.Errorf("%v, want %v", errs[2], why)
	}
	want(t, "with a context that has ended", classes(s.Put(ctx, records(t, 1, 4, 4))), []string{"unavailable"})
}

func TestPutWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	f := newFake(t)
	f.deaf["s1-1"] = true
	s := f.open(t, long)
	first, endFirst := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { s.Put(first, records(t, 1, 1, 1)) })
	<-f.reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, "classes", classes(s.Put(ctx, records(t, 2, 1, 2))), []string{"unavailable", "unavailable"})
	endFirst()
	wait.Wait()
}

func TestPutFromManyGoroutines(t *testing.T) {
	f := newFake(t)
	s := f.open(t, long)
	var wait sync.WaitGroup
	for session := range byte(8) {
		batch := records(t, session+1, 1, 40)
		wait.Go(func() {
			for part := range slices.Chunk(batch, 10) {
				for _, err := range s.Put(t.Context(), part) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	if len(f.stored) != 320 || f.opened != 1 {
		t.Errorf("%d stored over %d streams, want 320 over 1", len(f.stored), f.opened)
	}
}

func TestPutAfterTheServerCameBack(t *testing.T) {
	f := newFake(t)
	s := f.open(t, long)
	want(t, "up", classes(s.Put(t.Context(), records(t, 1, 1, 1))), []string{"ok"})
	f.stop()
	<-s.stream.ended
	want(t, "down", classes(s.Put(t.Context(), records(t, 1, 2, 3))), []string{"unavailable", "unavailable"})
	f.start()
	connected(t, s)
	want(t, "up again", classes(s.Put(t.Context(), records(t, 1, 2, 3))), []string{"ok", "ok"})

	f.stop()
	<-s.stream.ended
	f.start()
	connected(t, s)
	want(t, "gone and back between two batches", classes(s.Put(t.Context(), records(t, 1, 4, 5))), []string{"ok", "ok"})
}

// connected waits for the connection to come back by itself.
func connected(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	s.conn.ResetConnectBackoff()
	for state := s.conn.GetState(); state != connectivity.Ready; state = s.conn.GetState() {
		s.conn.Connect()
		if !s.conn.WaitForStateChange(ctx, state) {
			t.Fatalf("still %v", state)
		}
	}
}

func TestPutOfWhatNoServerTakes(t *testing.T) {
	f := newFake(t)
	s := f.open(t, long)
	batch := records(t, 1, 1, 5)
	batch[1].Form = wal.FormNone
	batch[2].Form, batch[2].Payload = wal.FormRemember, []byte{0xff}
	batch[3].Form, batch[3].Payload = wal.FormExperience, nil
	want(t, "classes", classes(s.Put(t.Context(), batch)), []string{"ok", "permanent", "permanent", "permanent", "ok"})
	want(t, "stored", f.stored, []string{"s1-1", "s1-5"})
}

func TestPutToServerThatAnswersTooMuch(t *testing.T) {
	f := newFake(t)
	f.chatty = true
	s := f.open(t, long)
	// Whichever comes first: the surplus is seen during a Put, or the next one finds the stream ended. It is never an
	// answer to something else, and never a stored record that was not.
	for n := range uint64(20) {
		errs := s.Put(t.Context(), records(t, 1, n+1, n+1))
		if class := store.ClassOf(errs[0]); class != store.ClassNone && !errors.Is(errs[0], errExtra) {
			t.Errorf("%v, want stored or %v", errs[0], errExtra)
		}
	}
}

func TestClose(t *testing.T) {
	f := newFake(t)
	f.deaf["s1-1"] = true
	s := f.open(t, long)
	var errs []error
	var wait sync.WaitGroup
	wait.Go(func() { errs = s.Put(context.Background(), records(t, 1, 1, 1)) })
	<-f.reached
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wait.Wait()
	for _, err := range []error{errs[0], s.Put(context.Background(), records(t, 1, 1, 1))[0], s.Check(context.Background())} {
		if store.ClassOf(err) != store.ClassUnavailable || !errors.Is(err, errClosed) {
			t.Errorf("%v, want an unavailable %v", err, errClosed)
		}
	}
}
