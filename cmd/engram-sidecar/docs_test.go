package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// docCommand is a line of a code block in the documents that a reader would type.
type docCommand struct {
	where string // file and line
	text  string // without its comment
}

// docCommands are those of README.md and docs/.
func docCommands(t *testing.T) (all []docCommand) {
	t.Helper()
	files := []string{"../../README.md"}
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`\s+#.*`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		inside, n := false, 0
		for line := range strings.Lines(string(text)) {
			n++
			if strings.HasPrefix(line, "```") {
				inside = !inside
				continue
			}
			line = strings.TrimSpace(comment.ReplaceAllString(strings.TrimRight(line, "\n"), ""))
			if inside && regexp.MustCompile(`^(engram-sidecar|make|.*\| engram-sidecar) `).MatchString(line+" ") {
				all = append(all, docCommand{fmt.Sprintf("%s:%d", file, n), line})
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d commands were found", len(all))
	}
	return all
}

// What a reader puts in the place of an example, by a part of the command's words.
func (d *docRig) substitute(word string) string {
	switch {
	case strings.HasPrefix(word, "/mnt/backup/"):
		return filepath.Join(d.dir, "backup", filepath.Base(word))
	case strings.HasPrefix(word, "/mnt/"), strings.HasPrefix(word, "/var/lib/"):
		return filepath.Join(d.dir, "elsewhere", filepath.Base(word))
	case word == "OTHER:50051":
		return d.grpc
	}
	return word
}

// docMayFail are commands that cannot succeed where all is well, with what they say then.
var docMayFail = map[string]string{
	"deadletters show": "no dead letter",
	"deadletters drop": "",                                       // the letter of the example is not there
	"bench":            "nothing was acked while it was counted", // on a machine that is too busy
}

// docRig is a sidecar with a little in it, and the directory in which a reader types.
type docRig struct {
	dir, data, grpc, admin string
}

func newDocRig(t *testing.T) *docRig {
	t.Helper()
	d := &docRig{dir: t.TempDir(), grpc: freePort(t), admin: freePort(t)}
	d.data = filepath.Join(d.dir, "data")
	t.Chdir(d.dir)
	for _, file := range []string{"notes.txt", "app.log"} {
		if err := os.WriteFile(file, []byte("where we met\na timeout\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err == nil { // TestMain makes it the program when it is called so
		err = os.WriteFile(filepath.Join(d.dir, "engram-sidecar"), binary, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	serve := d.command(t.Context(), "", "serve", "--data-dir", d.data, "--listen", d.grpc, "--admin-listen", d.admin)
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(os.Interrupt) // where it has ended, Wait says so
		err, said := serve.Wait(), fmt.Sprint(serve.Stderr)
		if err != nil && !strings.Contains(said, "stopping") { // a drain that is to end it has, and a second signal ends it at once
			t.Errorf("serve: %v: %s", err, said)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get("http://" + d.admin + "/readyz"); err == nil {
			_ = response.Body.Close() // only the status was wanted
			if response.StatusCode == http.StatusOK {
				return d
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the sidecar was not ready within a minute")
		}
	}
}

// command is the program as a process. It may outlive the test's context: the sidecar is stopped after it.
func (d *docRig) command(ctx context.Context, stdin string, args ...string) *exec.Cmd {
	c := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(d.dir, "engram-sidecar"), args...)
	c.Env = append(os.Environ(), "ENGRAM_SIDECAR_DATA_DIR="+d.data, "HOME="+d.dir)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), new(bytes.Buffer), new(bytes.Buffer)
	return c
}

// run runs it to its end.
func (d *docRig) run(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	c := d.command(t.Context(), "", args...)
	err = c.Run()
	return fmt.Sprint(c.Stdout, c.Stderr), err
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestEveryCommandInTheDocsRuns types each command of the documents, in order, beside a running sidecar.
func TestEveryCommandInTheDocsRuns(t *testing.T) {
	commands := docCommands(t) // before the working directory changes
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	d := newDocRig(t)
	restored := 0
	slices.SortStableFunc(commands, func(a, b docCommand) int { return ends(a) - ends(b) })
	for i, c := range commands {
		if ends(c) == 1 && i > 0 && ends(commands[i-1]) == 1 { // it has ended
			continue
		}
		if target, ok := strings.CutPrefix(c.text, "make"); ok { // that it runs is its own test's matter; here, that it is there
			for _, word := range strings.Fields(target) {
				if variable, _, ok := strings.Cut(word, "="); ok && strings.Contains(string(makefile), "\n"+variable+" ?=") {
					continue
				}
				if !strings.Contains(string(makefile), "\n"+word+":") {
					t.Errorf("%s: %s: no such target or variable: %s", c.where, c.text, word)
				}
			}
			continue
		}
		if strings.HasPrefix(c.text, "engram-sidecar serve") { // it runs already
			continue
		}
		if strings.Contains(c.text, "restore ") {
			restored++
		}
		d.try(t, c, restored)
	}
}

// ends is 1 for a command after which no sidecar runs: it comes last.
func ends(c docCommand) int {
	if strings.Contains(c.text, " drain --stop") {
		return 1
	}
	return 0
}

// try runs one command and expects it to succeed.
func (d *docRig) try(t *testing.T, c docCommand, restored int) {
	t.Helper()
	stdin := ""
	text := c.text
	if _, piped, ok := strings.Cut(text, "| "); ok { // from a program of the reader's
		stdin, text = "a line of a log\n", piped
	}
	text, into, _ := strings.Cut(text, " > ")
	args := shellWords(text)[1:]
	for i := range args {
		args[i] = d.substitute(args[i])
	}
	name := strings.Join(args[:min(2, len(args))], " ")
	switch args[0] {
	case "observe", "recall":
		if !slices.Contains(args, "--addr") {
			args = append(args, "--addr", d.grpc)
		}
	case "status", "sessions", "deadletters", "drain":
		args = append(args, "--admin", d.admin)
	case "bench":
		args = append(args, "--duration", "200ms", "--warmup", "100ms", "--runs", "1")
	case "restore":
		args = append(args, "--data-dir", filepath.Join(d.dir, fmt.Sprintf("restored-%d", restored)))
	}
	if args[0] == "backup" {
		_ = os.RemoveAll(args[1]) // the same example may be there twice
	}
	switch name {
	case "journal repair": // a directory that is not served: a copy of the one that is
		stopped := filepath.Join(d.dir, "stopped")
		_ = os.RemoveAll(stopped) // of an example before
		if out, err := d.run(t, "backup", stopped); err != nil {
			t.Errorf("backup: %v: %s", err, out)
		}
		args = append(args, "--data-dir", stopped)
	case "journal export": // there are two spaces, by the examples before
		args = append(args, "--space", "default")
	}
	run := d.command(t.Context(), stdin, args...)
	err := run.Run()
	code, said := run.ProcessState.ExitCode(), fmt.Sprint(run.Stderr)
	excuse, mayFail := docMayFail[name]
	if !mayFail {
		excuse, mayFail = docMayFail[args[0]]
	}
	if err != nil && !(mayFail && code == exitFailure && strings.Contains(said, excuse)) {
		t.Errorf("%s: %s: ended with %d: %s", c.where, c.text, code, said)
	}
	if into != "" {
		if err := os.WriteFile(filepath.Join(d.dir, strings.TrimSpace(into)), []byte(fmt.Sprint(run.Stdout)), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// shellWords splits as a shell does, as far as the documents need it.
func shellWords(text string) (words []string) {
	for _, found := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(text, -1) {
		words = append(words, found[1]+found[2])
	}
	return words
}
