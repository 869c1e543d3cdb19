package embedded

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

func TestLimit(t *testing.T) {
	var said bytes.Buffer
	cfg := small()
	cfg.MaxMemories = 50
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &said})
	dir := quickDir(t)
	s := open(t, dir, cfg)
	mustPut(t, s, tulips(1, 39)...)
	if st := s.Stats(); st.Near || st.Limit != 50 || said.Len() > 0 {
		t.Errorf("at 39 of 50: %+v, %s", st, said.String())
	}
	mustPut(t, s, tulip(40, 40))
	mustPut(t, s, tulip(41, 41))
	if st := s.Stats(); !st.Near || strings.Count(said.String(), "nears its limit") != 1 {
		t.Errorf("at 41 of 50: %+v, %s", st, said.String())
	}
	mustPut(t, s, tulip(1, 101), tulip(2, 102)) // superseded versions count: their place is taken
	mustPut(t, s, tulips(44, 3)...)
	mustPut(t, s, tulips(47, 4)...)
	for _, err := range s.Put(t.Context(), tulips(60, 1)) {
		if store.ClassOf(err) != store.ClassUnavailable || !strings.Contains(err.Error(), "50 of at most 50 memories are stored, 2 of them") {
			t.Errorf("at the limit: %v", err)
		}
	}
	mustPut(t, s, tulips(44, 7)...) // what is there already is confirmed
	if n := strings.Count(said.String(), "nears its limit"); n != 3 {
		t.Errorf("%d warnings, expected one at 80, 90 and 100 %%:\n%s", n, said.String())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	said.Reset()
	cfg.MaxMemories = 0
	s = open(t, dir, cfg)
	mustPut(t, s, tulips(60, 1)...)
	if st := s.Stats(); st.Near || st.Limit != MeantFor || said.Len() > 0 {
		t.Errorf("without a limit: %+v, %s", st, said.String())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MaxMemories = 52
	if st := open(t, dir, cfg).Stats(); !st.Near || !strings.Contains(said.String(), "nears its limit") {
		t.Errorf("opened near its limit: %+v, %s", st, said.String())
	}
}

func TestNegativeLimit(t *testing.T) {
	_, err := Open(t.TempDir(), Config{MaxMemories: -1})
	if err == nil || !strings.Contains(err.Error(), "embedded-max-memories: expected 0") {
		t.Error(err)
	}
}
