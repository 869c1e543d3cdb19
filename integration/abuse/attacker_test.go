package abuse

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// An attack runs in a process of its own, which gives way to everybody else (nice 19): what is measured is what the sidecar
// spends on an attacker, and not what the attacker takes of the same processors. That process is this test binary, told by
// targetKey which sidecar to attack; it runs the one test up to its attack, and is skipped from there.
const targetKey = "ABUSE_TARGET"

type attacker struct {
	t             *testing.T
	listen, admin string
}

// attacking is nil in the process that judges.
func attacking(t *testing.T) *attacker {
	listen, admin, ok := strings.Cut(os.Getenv(targetKey), " ")
	if !ok {
		return nil
	}
	return &attacker{t, listen, admin}
}

func (a *attacker) run(attack func()) {
	attack()
	a.t.SkipNow() // what follows is the judge's
}

// hold tells the judge that the attack stands, after so many messages, and waits until it has looked.
func (a *attacker) hold(sent int64) {
	fmt.Printf("%s%d\n", heldMark, sent)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the judge closes it, or is gone
}

const heldMark = "HELD "

// attack runs the test's attack in its own process, and fails the test where that fails.
func (s *siege) attack() {
	s.t.Helper()
	var pattern []string
	for part := range strings.SplitSeq(s.t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	c := exec.Command("nice", "-n", "19", os.Args[0], "-test.run="+strings.Join(pattern, "/"), "-test.v", "-test.timeout=10m")
	c.Env = append(os.Environ(), targetKey+"="+s.Listen+" "+s.Admin())
	in, err := c.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if sent, ok := strings.CutPrefix(lines.Text(), heldMark); ok {
			var n int64
			if _, err := fmt.Sscan(sent, &n); err != nil {
				s.t.Errorf("the attacker said %q: %v", lines.Text(), err)
			}
			s.held(n)
			_ = in.Close() // it goes on
			continue
		}
		said.WriteString(lines.Text() + "\n")
	}
	if err := c.Wait(); err != nil {
		s.t.Errorf("the attacker: %v\n%s", err, said.String())
		return
	}
	s.t.Logf("the attacker:\n%s", said.String())
}
