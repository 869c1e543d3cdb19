package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// shortest is the length in bytes from which a piece of text counts as a sentence here.
const shortest = 30

// findText returns the path of the text: the one that was named, or the one in the Go installation.
func findText(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w: is Go installed?", err)
	}
	path := filepath.Join(strings.TrimSpace(string(root)), "src", "testdata", "Isaac.Newton-Opticks.txt")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("this Go installation comes without its test data: %w: name another text with -text FILE", err)
	}
	return path, nil
}

// end matches where a sentence, or a part of one that stands alone, ends.
var end = regexp.MustCompile(`[.;:?!]\s+`)

// sentences cuts a text into its sentences, leaves out short ones, and those that were there before, so that each is
// one of a kind.
func sentences(text string) []string {
	var all []string
	seen := map[string]bool{}
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		paragraph = strings.Join(strings.Fields(strings.ReplaceAll(paragraph, "_", "")), " ") + " "
		for _, part := range cut(paragraph) {
			if len(part) >= shortest && !seen[part] {
				seen[part] = true
				all = append(all, part)
			}
		}
	}
	return all
}

// cut divides a paragraph behind each end, joining what is too short with what follows it.
func cut(paragraph string) []string {
	var parts []string
	from := 0
	for _, at := range end.FindAllStringIndex(paragraph, -1) {
		if part := strings.TrimSpace(paragraph[from:at[1]]); len(part) >= shortest {
			parts = append(parts, part)
			from = at[1]
		}
	}
	if rest := strings.TrimSpace(paragraph[from:]); rest != "" {
		parts = append(parts, rest)
	}
	return parts
}
