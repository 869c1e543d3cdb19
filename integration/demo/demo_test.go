package main

import (
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
