package actor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history notes what happened, in order.
type history struct {
	mu    sync.Mutex
	lines []string
}

func (h *history) note(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

// part is one that runs until it is told to stop, and then returns err.
func (h *history) part(name string, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		h.note(name)
		return err
	}
}

func second(error) time.Duration { return time.Second }

func TestPartsEndInReverse(t *testing.T) {
	var h history
	var g Group
	g.Go("a", h.part("a", nil))
	g.Defer("b", func() error { h.note("b"); return nil })
	g.Go("c", h.part("c", nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Wait(ctx, func(why error) time.Duration {
		if why != nil {
			t.Errorf("the reason of a wished end is %v", why)
		}
		return time.Second
	}); err != nil {
		t.Error(err)
	}
	if want := []string{"c", "b", "a"}; !slices.Equal(h.lines, want) {
		t.Errorf("ended in the order %v, want %v", h.lines, want)
	}
}

func TestTheFirstEndEndsAll(t *testing.T) {
	broken := errors.New("broken")
	cases := []struct {
		name string
		err  error
		says string
	}{
		{"with an error", broken, "broken"},
		{"without one", nil, "c ended by itself"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var h history
			var g Group
			g.Go("a", h.part("a", nil))
			g.Go("c", func(context.Context) error { return c.err })
			err := g.Wait(context.Background(), second)
			if err == nil || err.Error() != c.says {
				t.Errorf("error %q, want %q once", err, c.says)
			}
			if !slices.Equal(h.lines, []string{"a"}) {
				t.Errorf("ended: %v, want a", h.lines)
			}
		})
	}
}

func TestErrorsAtTheEndAreAllTold(t *testing.T) {
	var h history
	var g Group
	bad, worse := errors.New("bad"), errors.New("worse")
	g.Defer("x", func() error { return bad })
	g.Go("y", h.part("y", worse))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := g.Wait(ctx, second)
	if !errors.Is(err, bad) || !errors.Is(err, worse) || !strings.Contains(err.Error(), "stopping x: bad") {
		t.Errorf("error %v", err)
	}
}

func TestWhatDoesNotEndIsNamedAndLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		var g Group
		release := make(chan struct{})
		g.Go("early", h.part("early", nil))
		g.Defer("hung close", func() error { <-release; return nil })
		g.Go("hung", func(context.Context) error { <-release; return nil })
		began := time.Now()
		err := g.Stop(time.Second, nil)
		if took := time.Since(began); took != time.Second+least {
			t.Errorf("took %v, want the grace and a last moment for the second that hangs", took)
		}
		for _, name := range []string{"hung", "hung close"} {
			if err == nil || !strings.Contains(err.Error(), "stopping "+name+": it has not ended within 1s") {
				t.Errorf("error %v does not name %s", err, name)
			}
		}
		close(release)
		synctest.Wait()
		if !slices.Equal(h.lines, []string{"early"}) {
			t.Errorf("ended: %v: what comes after a hung part must be told to end too", h.lines)
		}
	})
}

func TestAnEmptyGroup(t *testing.T) {
	var g Group
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Wait(ctx, second); err != nil {
		t.Error(err)
	}
}
