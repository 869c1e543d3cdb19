package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// writeJSON prints v indented. What a terminal could take for a command is escaped, so that it is the same JSON and harmless.
func (p *program) writeJSON(v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the answer as JSON: %w", err)
	}
	return p.write(escapeControls(text.String()))
}

func (p *program) write(text string) error {
	if _, err := p.stdout.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// escapeControls writes what printable would take away as JSON escapes. encoding/json does so for the first 32 itself, and
// the line ends that are left are those between its lines.
func escapeControls(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\n' && printable(string(r)) == "" {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
