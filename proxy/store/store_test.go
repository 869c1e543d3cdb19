package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

var errCause = errors.New("embedding: expected 768 dimensions, got 3")

func TestClassOf(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want store.Class
		text string
	}{
		{"nothing wrong", nil, store.ClassNone, "none"},
		{"no mark", errCause, store.ClassTransient, "transient"},
		{"permanent", store.Permanent(errCause), store.ClassPermanent, "permanent"},
		{"denied", store.Denied(errCause), store.ClassDenied, "denied"},
		{"unavailable", store.Unavailable(errCause), store.ClassUnavailable, "unavailable"},
		{"wrapped below", fmt.Errorf("put: %w", store.Denied(errCause)), store.ClassDenied, "denied"},
		{"outermost wins", store.Unavailable(fmt.Errorf("ended: %w", store.Permanent(errCause))), store.ClassUnavailable, "unavailable"},
		{"behind is no refusal of the item", store.ErrBehind, store.ClassTransient, "transient"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := store.ClassOf(row.err)
			if got != row.want || got.String() != row.text {
				t.Errorf("ClassOf(%v) = %d %q, want %d %q", row.err, got, got, row.want, row.text)
			}
		})
	}
	if got := store.Class(9).String(); got != "class 9" {
		t.Errorf("unknown class reads %q", got)
	}
}

func TestMarksKeepTheCause(t *testing.T) {
	for name, mark := range map[string]func(error) error{
		"Permanent": store.Permanent, "Denied": store.Denied, "Unavailable": store.Unavailable,
	} {
		if mark(nil) != nil {
			t.Errorf("%s(nil) is an error", name)
		}
		err := mark(errCause)
		if !errors.Is(err, errCause) || err.Error() != errCause.Error() {
			t.Errorf("%s lost the cause or its words: %v", name, err)
		}
	}
}

func TestCapabilitiesCan(t *testing.T) {
	c := store.Capabilities{Cues: []store.Cue{store.CueEmbedding, store.CueSemantic}}
	if !c.Can(store.CueSemantic) || c.Can(store.CuePattern) || (store.Capabilities{}).Can(store.CueEmbedding) {
		t.Error("Can does not follow Cues")
	}
}
