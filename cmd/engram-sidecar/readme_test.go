package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
)

// settingsTable is the README's table of settings.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	for _, s := range config.Settings {
		name := "--" + s.Name
		if s.Value != "" {
			name += " " + s.Value
		}
		value := "`" + s.Default + "`"
		if strings.Contains(s.Default, " ") || s.Default == "none" {
			value = s.Default
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, value, s.Help)
	}
	return b.String()
}

// TestReadmeListsTheSettings keeps the README's table what the program takes. It prints the table to put there.
func TestReadmeListsTheSettings(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := settingsTable(); !strings.Contains(string(readme), want) {
		t.Errorf("README.md has another table of settings; this is the right one:\n%s", want)
	}
}

// TestReadmeNamesEveryExitCode does the same for the codes.
func TestReadmeNamesEveryExitCode(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []int{exitOK, exitFailure, exitUsage, exitIO, exitInUse, exitConfig} {
		if !strings.Contains(string(readme), fmt.Sprintf("\n| %d |", code)) {
			t.Errorf("README.md does not tell what exit code %d means", code)
		}
	}
}
