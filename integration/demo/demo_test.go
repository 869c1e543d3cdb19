package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSentences(t *testing.T) {
	text := "OPTICKS\n\nLight, which has _many colours_, is not\nsimilar; but consists. Of rays that differ in kind: for so they do.\n\n" +
		"Light, which has many colours, is not similar;\n\nA last one without an end, which is long enough"
	want := []string{
		"Light, which has many colours, is not similar;",
		"but consists. Of rays that differ in kind:",
		"A last one without an end, which is long enough",
	}
	if got := sentences(text); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCompare(t *testing.T) {
	lines := []string{"a", "b", "c"}
	cases := []struct {
		name  string
		store map[string]string
		want  tally
	}{
		{"all there", map[string]string{"1": "a", "2": "b", "3": "c"}, tally{stored: 3}},
		{"one lost", map[string]string{"1": "a", "3": "c"}, tally{stored: 2, missing: 1}},
		{"one twice", map[string]string{"1": "a", "2": "b", "3": "c", "4": "b"}, tally{stored: 4, duplicates: 1}},
		{"one altered", map[string]string{"1": "a", "2": "B", "3": "c"}, tally{stored: 3, missing: 1, foreign: 1}},
		{"nothing", nil, tally{missing: 3}},
	}
	for _, c := range cases {
		if got := compare(lines, c.store); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestFindText(t *testing.T) {
	if path, err := findText("mine.txt"); err != nil || path != "mine.txt" {
		t.Errorf("a named text: %s, %v", path, err)
	}
	path, err := findText("")
	if err != nil {
		t.Skipf("this Go installation has no test data: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(sentences(string(text))); n < 2000 || filepath.Base(path) != "Isaac.Newton-Opticks.txt" {
		t.Errorf("%s has %d sentences, expected some thousands", path, n)
	}
}

func TestOppositesAreOpposite(t *testing.T) {
	v, w := opposites()
	for i := range v {
		if v[i] != -w[i] {
			t.Fatalf("place %d: %v and %v", i, v[i], w[i])
		}
	}
	if len(v) != 768 {
		t.Errorf("%d dimensions", len(v))
	}
}

func TestIndented(t *testing.T) {
	var b strings.Builder
	if n, err := (indented{&b}).Write([]byte("one\ntwo\n")); n != 8 || err != nil || b.String() != "      one\n      two\n" {
		t.Errorf("%d %v %q", n, err, b.String())
	}
}

// TestTheDemo runs the whole of it on a short text.
func TestTheDemo(t *testing.T) {
	var text strings.Builder
	for i := range 600 {
		fmt.Fprintf(&text, "Sentence %d is about light, colours and the number %d.\n\n", i, i*i)
	}
	path := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func TestTheDemoWithoutAText(t *testing.T) {
	if err := run(t.Context(), filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestJudge shows the demo's verdict on stores and balances that are not as they should be.
func TestJudge(t *testing.T) {
	var st state
	st.Balance.Accepted, st.Balance.Delivered, st.Store.Stored = 3, 3, 3
	good := tally{stored: 3}
	if err := judge(3, good, st, summary{Acked: 3}); err != nil {
		t.Errorf("all is well, and yet: %v", err)
	}
	uneven := st
	uneven.Balance.Delivered = 2
	for says, err := range map[string]error{
		"2 of 3 sentences were acknowledged":     judge(3, good, st, summary{Acked: 2}),
		"1 sentences are missing":                judge(3, tally{stored: 3, missing: 1}, st, summary{Acked: 3}),
		"1 are there too often":                  judge(3, tally{stored: 3, duplicates: 1}, st, summary{Acked: 3}),
		"1 memories were never sent":             judge(3, tally{stored: 3, foreign: 1}, st, summary{Acked: 3}),
		"2 memories were read back, the store c": judge(3, tally{stored: 2}, st, summary{Acked: 3}),
		"3 accepted, 2 delivered":                judge(3, good, uneven, summary{Acked: 3}),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the verdict %v does not say %q", err, says)
		}
	}
}
