package dist

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// inNamespace prepares a script of testdata that runs as root in mounts of its own.
func inNamespace(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		needs(t, "root", fmt.Errorf("this is uid %d", os.Geteuid()))
	}
	base := t.TempDir()
	try := harness.Command(t, "unshare", "-m", "sh", "-c", `mount --make-rprivate / && mount -t tmpfs tmpfs "$0" && mkdir "$0/u" "$0/w" "$0/r" && mount -t overlay overlay -o "lowerdir=/,upperdir=$0/u,workdir=$0/w" "$0/r"`, base)
	if out, err := try.CombinedOutput(); err != nil {
		needs(t, "mount namespaces with overlayfs", fmt.Errorf("%w: %s", err, out))
	}
	return harness.Command(t, "unshare", append([]string{"-m", "bash", script, base}, args...)...)
}

func needs(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("REQUIRE_FAULTS") == "1" {
		t.Fatalf("REQUIRE_FAULTS=1: %s: %v", what, err)
	}
	t.Skipf("needs %s: %v", what, err)
}

// unit is what the installed unit says, by key; of a key that is there twice, the last.
func unit(t *testing.T, deb string) map[string]string {
	t.Helper()
	at := t.TempDir()
	command(t, "dpkg-deb", "-x", deb, at)
	text, err := os.ReadFile(filepath.Join(at, "lib/systemd/system/engram-sidecar.service"))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			keys[key] = value
		}
	}
	return keys
}

// TestTheInstalledUnitStarts installs the package over this machine's root, and starts what its unit names, as a user without
// rights, on a root that cannot be written. Another user observes, and a stop is clean.
func TestTheInstalledUnitStarts(t *testing.T) {
	deb := one(t, filepath.Join(made(t), "*_amd64.deb"))
	says := unit(t, deb)
	for key, want := range map[string]string{"DynamicUser": "yes", "StateDirectory": "engram-sidecar", "NoNewPrivileges": "yes", "ProtectSystem": "strict"} {
		if says[key] != want {
			t.Errorf("the unit has %s=%s, want %s", key, says[key], want)
		}
	}
	grpc, admin := harness.FreeAddress(t), harness.FreeAddress(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "listen: %s\nadmin-listen: %s\n", grpc, admin), 0o644); err != nil {
		t.Fatal(err)
	}
	c := inNamespace(t, "testdata/install.sh", append([]string{deb, "run", config}, strings.Fields(says["ExecStart"])...)...)
	r := start(t, c, admin)
	log := r.log.String()
	if !strings.Contains(log, "Setting up engram-sidecar") {
		t.Errorf("dpkg says %s", log)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil && os.Getenv("REQUIRE_TOOLS") == "1" {
		t.Errorf("REQUIRE_TOOLS=1: %v: apt-get install systemd", err)
	} else if err == nil && !strings.Contains(log, "the unit was verified") {
		t.Errorf("the unit was not verified: %s", log)
	}
	r.observes(t, grpc)
	process := fmt.Sprintf("/proc/%d", c.Process.Pid)
	info, err := os.Stat(process + "/root/var/lib/engram-sidecar/journal")
	if err != nil {
		t.Fatal(err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != 61184 || info.Mode().Perm() != 0o700 {
		t.Errorf("the data: %v of %+v, want drwx------ of 61184", info.Mode(), info.Sys())
	}
	status, err := os.ReadFile(process + "/status")
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1\n") || !strings.Contains(string(status), "CapBnd:\t0000000000000000\n") {
		t.Errorf("what runs has rights: %s %v", status, err)
	}
	r.stops(t)
}

// TestThePackagesLife: settings outlive an upgrade, data outlives a purge.
func TestThePackagesLife(t *testing.T) {
	deb := one(t, filepath.Join(made(t), "*_amd64.deb"))
	out, err := inNamespace(t, "testdata/install.sh", deb, "life").Output()
	want := `upgraded: # an operator's
removed: etc/engram-sidecar/config.yaml 
purged: var/lib/engram-sidecar/data 
`
	if err != nil || string(out) != want {
		t.Errorf("%v, said\n%swant\n%s", err, out, want)
	}
}

// running is a sidecar that a script has become.
type running struct {
	*exec.Cmd
	log   *harness.Transcript
	ended chan error
}

// start runs a script until the sidecar that it becomes is ready.
func start(t *testing.T, c *exec.Cmd, admin string) *running {
	t.Helper()
	r := &running{Cmd: c, log: &harness.Transcript{}, ended: make(chan error, 1)}
	c.Stdout, c.Stderr = r.log, r.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- c.Wait(); close(r.ended) }() // ends with the process, which the cleanup kills
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		if err := <-r.ended; t.Failed() {
			t.Logf("it ended with %v, and says:\n%s", err, r.log.String())
		}
	})
	deadline := time.Now().Add(2 * harness.Patience)
	for {
		if response, err := http.Get("http://" + admin + "/readyz"); err == nil {
			_ = response.Body.Close() // only the status was wanted
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case err := <-r.ended:
			t.Fatalf("it ended before it was ready: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready within %v", 2*harness.Patience)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return r
}

// observes sends an observation from outside, with the binary of the working tree.
func (r *running) observes(t *testing.T, address string) {
	t.Helper()
	if _, _, err := net.SplitHostPort(address); err != nil {
		t.Fatal(err)
	}
	c := harness.Command(t, harness.Binary(t), "observe", "--addr", address)
	c.Stdin = strings.NewReader("it runs as installed\n")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "acked 1") {
		t.Errorf("observe: %v\n%s", err, out)
	}
}

// stops ends it with SIGTERM, to which the answer is 0.
func (r *running) stops(t *testing.T) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
	case <-time.After(harness.Patience):
		t.Errorf("it did not stop within %v", harness.Patience)
	}
}
