package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testNamed   = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	testDefined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	linkInDocs  = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
)

// ruleDocs says which tests a page names that are not there, and which of its links lead nowhere. exists is asked for paths
// relative to the page.
func ruleDocs(name, text string, tests map[string]bool, exists func(string) bool) (wrong []string) {
	for _, test := range testNamed.FindAllString(text, -1) {
		if !tests[test] {
			wrong = append(wrong, fmt.Sprintf("%s names %s, which is not there: name the test that shows it", name, test))
		}
	}
	for _, m := range linkInDocs.FindAllStringSubmatch(text, -1) {
		if link := m[1]; !strings.Contains(link, "://") && !exists(link) {
			wrong = append(wrong, fmt.Sprintf("%s links to %s, which is not there", name, link))
		}
	}
	return wrong
}

// ruleTests are the names of all tests, fuzz targets and benchmarks.
func ruleTests(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	for name, text := range ruleFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range testDefined.FindAllSubmatch(text, -1) {
				tests[string(m[1])] = true
			}
		}
	}
	return tests
}

// TestRulesOfDocs holds the pages against the code: what they name as proof is there, and so is what they link to.
func TestRulesOfDocs(t *testing.T) {
	tests := ruleTests(t)
	pages := 0
	for name, text := range ruleFiles(t) {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		pages++
		exists := func(link string) bool {
			_, err := os.Stat(filepath.Join("..", filepath.Dir(name), link))
			return err == nil
		}
		for _, wrong := range ruleDocs(name, string(text), tests, exists) {
			t.Error(wrong)
		}
	}
	if pages < 5 || len(tests) < 500 {
		t.Errorf("found only %d pages and %d tests", pages, len(tests))
	}
}

func TestRulesOfDocsCanFail(t *testing.T) {
	tests := map[string]bool{"TestThere": true}
	exists := func(link string) bool { return link == "there.md" }
	for text, want := range map[string][]string{
		"`wal` TestThere, [a](there.md), [b](https://far.example), [c](there.md#part)": nil,
		"TestThere/with_a_part": nil,
		"TestNotThere":          {"p.md names TestNotThere, which is not there: name the test that shows it"},
		"[a](away.md#part)":     {"p.md links to away.md, which is not there"},
	} {
		if got := ruleDocs("p.md", text, tests, exists); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
