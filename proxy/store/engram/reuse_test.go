package engram

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestABrokenOffPutLeavesTheBatchAlone breaks a Put off while far more is on its way than the connection takes, so that gRPC's
// writes are blocked, in each way that it can end. Its caller uses the batch again at once: what the server gets then, of that Put
// and of the next one, is byte for byte what was to be sent. Under the race detector whoever still reads the batch is found.
func TestABrokenOffPutLeavesTheBatchAlone(t *testing.T) {
	for name, row := range map[string]struct {
		timeout  bool
		breakOff func(f *fake, cancel func())
	}{
		"the server is silent":     {timeout: true, breakOff: func(*fake, func()) {}},
		"the context ends":         {breakOff: func(_ *fake, cancel func()) { cancel() }},
		"the connection breaks":    {breakOff: func(f *fake, _ func()) { f.stop() }},
		"the server ends the call": {breakOff: func(f *fake, _ func()) { close(f.hangUp) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.deaf["s1-40"], f.hangUp = true, make(chan struct{})
			patience := long
			if row.timeout {
				patience = short
			}
			s := f.open(t, patience)
			all := records(t, 1, 1, 800) // 2.5 MB, and the window is 64 KiB
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-f.reached
				row.breakOff(f, cancel)
			}()
			batch := slices.Clone(all)
			errs := s.Put(ctx, batch)
			for i := range batch {
				batch[i] = wal.Record{Index: 1, Form: wal.FormEpisode, Space: "elsewhere", ID: []byte("of the next round")}
			}
			if errs[len(errs)-1] == nil {
				t.Fatal("the Put was not broken off: the test shows nothing")
			}
			if f.set(func() { f.deaf = nil }); f.down {
				f.start()
			}
			for _, err := range f.open(t, long).Put(t.Context(), slices.Clone(all)) {
				if err != nil {
					t.Fatal(err)
				}
			}
			f.holds(t, all)
		})
	}
}

// holds compares all that was ever taken with what was to be sent.
func (f *fake) holds(t *testing.T, records []wal.Record) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bytes) != len(records) {
		t.Errorf("%d memories were taken, of %d", len(f.bytes), len(records))
	}
	for i := range records {
		r := &records[i]
		want := append(envelope.EncodeRememberHead(nil, r.Space, len(r.Payload)), r.Payload...)
		if got := f.bytes[string(r.ID)]; !bytes.Equal(got, want) {
			t.Fatalf("%s was taken with %d bytes, of which the first to differ from what was to be sent is %d", r.ID, len(got), differ(got, want))
		}
	}
}

func differ(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
