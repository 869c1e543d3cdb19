package embedded

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// TestCopyOfAStoreInUse copies again and again while memories are put: each copy opens, and holds what was confirmed before.
func TestCopyOfAStoreInUse(t *testing.T) {
	from := quickDir(t)
	s, err := Open(from, small())
	if err != nil {
		t.Fatal(err)
	}
	const total = 300
	confirmed := make(chan int, total)
	go func() { // ends with the last tulip
		defer close(confirmed)
		for k := 1; k <= total; k += 3 {
			if err := errors.Join(s.Put(t.Context(), tulips(k, 3))...); err != nil {
				t.Error(err)
				return
			}
			confirmed <- k + 2
		}
	}()
	for had := range confirmed {
		if had%30 != 0 {
			continue
		}
		to := filepath.Join(quickDir(t), "copy")
		if _, err := Copy(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		c, err := Open(to, small())
		if err != nil {
			t.Fatal(err)
		}
		if n := c.Count(garden); n < had || n > total {
			t.Errorf("%d were confirmed, the copy holds %d", had, n)
		}
		if d := c.Stats().Damaged; d != 0 {
			t.Errorf("%d rows of the copy are damaged", d)
		}
		wantTulips(t, c, 1, c.Count(garden))
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCopyRefuses(t *testing.T) {
	from, to := quickDir(t), quickDir(t)
	fullStore(t, from, 3)
	if _, err := Copy(t.Context(), from, to); err == nil {
		t.Error("copied into a directory that was there")
	}
	if n, err := Copy(t.Context(), filepath.Join(from, "nowhere"), filepath.Join(to, "copy")); n != 0 || err != nil {
		t.Errorf("a store that is not there: %d bytes, %v", n, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Copy(over, from, filepath.Join(to, "late")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}
