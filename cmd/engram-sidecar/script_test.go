package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

// TestMain lets the scripts run this binary as engram-sidecar.
func TestMain(m *testing.M) {
	testscript.Main(checked{m}, map[string]func(){"engram-sidecar": main})
}

// checked looks for goroutines that the tests of this process left behind.
type checked struct{ *testing.M }

func (c checked) Run() int {
	code := c.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		_, _ = os.Stderr.WriteString("goleak: " + err.Error() + "\n")
		return 1
	}
	return code
}

// TestScripts runs the command line as a person does. Each script is a catalogue of what one may type.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Values[sidecarsKey{}], e.Values[storeKey{}] = map[string]*scripted{}, &fake{}
			return nil
		},
		Cmds: scriptCommands,
	})
}

// exercise is how the scripts use one command.
type exercise struct{ good, help, bad bool }

// TestScriptsExerciseEveryCommand walks through all commands: each has an example, and is run by a script well, for its help, and
// with what it has to refuse, in words that are looked at. What only groups others is run well where it shows them.
func TestScriptsExerciseEveryCommand(t *testing.T) {
	root := (&program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).root()
	used := map[*cobra.Command]*exercise{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		used[c] = &exercise{}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if len(used) < 35 {
		t.Fatalf("only %d commands were found", len(used))
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		steps, _, _ := strings.Cut(string(text), "\n-- ") // the files of the script come behind
		lines := append(strings.Split(steps, "\n"), "")
		for i, line := range lines[:len(lines)-1] {
			noteExercise(root, used, shellWords(line), strings.HasPrefix(lines[i+1], "stderr "))
		}
	}
	for c, u := range used {
		if c.Example == "" {
			t.Errorf("%s has no example in its help", c.CommandPath())
		}
		if !u.good || !u.help || !u.bad {
			t.Errorf("%s: scripts run it well: %v, for its help: %v, with what it refuses: %v; each is wanted", c.CommandPath(), u.good, u.help, u.bad)
		}
	}
}

// noteExercise notes what a line of a script does; heard says that the next one looks at what is said on stderr.
func noteExercise(root *cobra.Command, used map[*cobra.Command]*exercise, words []string, heard bool) {
	bad := false
	switch {
	case len(words) > 2 && (words[0] == "exits" || words[0] == "until"):
		bad = words[0] == "exits"
		words = words[2:]
	case len(words) > 3 && words[0] == "sidecar" && words[1] == "start":
		words = []string{"engram-sidecar", "serve"}
	case len(words) > 1 && words[0] == "exec":
		words = words[1:]
	default:
		return
	}
	if words[0] != "engram-sidecar" {
		return
	}
	c, _, err := root.Find(words[1:])
	u := used[c]
	switch {
	case err != nil || u == nil:
	case bad:
		u.bad = u.bad || heard
	case slices.Contains(words, "--help"):
		u.help = true
	default:
		u.good = true
	}
}
