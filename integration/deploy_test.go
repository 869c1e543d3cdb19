package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// container is what the tests look at of a container in docs/deploy/kubernetes.yaml.
type container struct {
	Name            string
	RestartPolicy   string `yaml:"restartPolicy"`
	Args            []string
	StartupProbe    probe `yaml:"startupProbe"`
	LivenessProbe   probe `yaml:"livenessProbe"`
	ReadinessProbe  probe `yaml:"readinessProbe"`
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
}

type probe struct {
	HTTPGet struct {
		Path string
		Port string
	} `yaml:"httpGet"`
	FailureThreshold int `yaml:"failureThreshold"`
}

// podSpec is the pod of the manifest.
type podSpec struct {
	TerminationGracePeriodSeconds int         `yaml:"terminationGracePeriodSeconds"`
	InitContainers                []container `yaml:"initContainers"`
	Containers                    []container
	SecurityContext               struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
}

// manifestPod reads the pod of the StatefulSet.
func manifestPod(t *testing.T) podSpec {
	t.Helper()
	text, err := os.ReadFile("../docs/deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var d struct {
			Kind string
			Spec struct{ Template struct{ Spec podSpec } }
		}
		if err := documents.Decode(&d); errors.Is(err, io.EOF) {
			t.Fatal("the manifest has no StatefulSet")
		} else if err != nil {
			t.Fatal(err)
		}
		if d.Kind == "StatefulSet" {
			return d.Spec.Template.Spec
		}
	}
}

func TestManifestAsksForNoRights(t *testing.T) {
	pod := manifestPod(t)
	c := pod.InitContainers[0]
	escalation := c.SecurityContext.AllowPrivilegeEscalation
	if !pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != "RuntimeDefault" || escalation == nil || *escalation ||
		!c.SecurityContext.ReadOnlyRootFilesystem || strings.Join(c.SecurityContext.Capabilities.Drop, " ") != "ALL" {
		t.Errorf("the sidecar has more rights than it needs: %+v, %+v", pod.SecurityContext, c.SecurityContext)
	}
}

func TestUnitAsksForNoRights(t *testing.T) {
	text, err := os.ReadFile("../docs/deploy/engram-sidecar.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "PrivateTmp=yes", "UMask=0077",
		"StateDirectoryMode=0700", "LimitCORE=0", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the unit does not say %s", line)
		}
	}
}

// TestAnApplicationBesideItsSidecar does what Kubernetes does with the manifest, with its arguments, probes and order: the sidecar
// first, the application when the startup probe holds; at the end the application first, then the sidecar. And the other
// way round, as without native sidecars: an application that is there before its sidecar, and outlives it.
func TestAnApplicationBesideItsSidecar(t *testing.T) {
	pod := manifestPod(t)
	if len(pod.InitContainers) != 1 || pod.InitContainers[0].RestartPolicy != "Always" || len(pod.Containers) != 1 {
		t.Fatalf("the manifest has no native sidecar before one application: %+v", pod)
	}
	c := pod.InitContainers[0]
	for name, order := range map[string]struct{ appFirst, appLast bool }{"as the manifest says": {}, "the application first and last": {true, true}} {
		t.Run(name, func(t *testing.T) {
			tokens := filepath.Join(t.TempDir(), "admin-tokens")
			if err := os.WriteFile(tokens, []byte("prometheus replace-me-with-openssl-rand-hex-32 admin\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			oracle := harness.NewOracle()
			s := harness.NewSidecar(t, harness.Binary(t), manifestFlags(t, c.Args, tokens)...)
			app := &harness.Client{Name: "app", Conn: s.Connect(), Oracle: oracle, Window: 64}
			enough, ended := make(chan struct{}), make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
			defer cancel()
			begin := func() { go func() { ended <- app.Run(ctx, enough) }() } // ends when enough is closed, or with ctx
			if order.appFirst {
				begin()
			}
			s.Exec()
			s.Await("the startup probe", func() (bool, error) { return probed(s, c.StartupProbe), nil })
			if !order.appFirst {
				begin()
			}
			s.Await("observations", func() (bool, error) {
				if !probed(s, c.LivenessProbe) || !probed(s, c.ReadinessProbe) {
					return false, errors.New("a probe fails while the application runs")
				}
				return oracle.LastAck("app") > 200, nil
			})
			if order.appLast {
				if code := s.Stop(); code != exitOK {
					t.Errorf("the sidecar ended with %d under its application", code)
				}
				s.Start() // the application comes back by itself, and goes on
			}
			close(enough)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if len(app.Faults) > 0 {
				t.Errorf("the application met %q", app.Faults)
			}
			if code := s.Stop(); code != exitOK {
				t.Errorf("the sidecar ended with %d", code)
			}
			s.Flags = nil // so that its account can be asked for without a token
			s.Start()
			if b := s.Drained(); b.Delivered != app.Highest || !b.Even() {
				t.Errorf("%d were acknowledged, %+v", app.Highest, b)
			}
		})
	}
}

// probed asks as the kubelet does: without a token, by the path that the manifest names.
func probed(s *harness.Sidecar, p probe) bool {
	answer, err := s.Get(p.HTTPGet.Path)
	return err == nil && answer.StatusCode == 200
}

// manifestFlags are the container's arguments, but for what is another here: addresses, directory, and where the secret is.
func manifestFlags(t *testing.T, args []string, tokens string) []string {
	t.Helper()
	var flags []string
	for _, a := range args {
		switch name, _, _ := strings.Cut(a, "="); name {
		case "serve", "--listen", "--admin-listen", "--data-dir":
		case "--admin-token-file":
			flags = append(flags, name+"="+tokens)
		default:
			flags = append(flags, a)
		}
	}
	if len(flags) < 2 {
		t.Fatalf("the manifest's arguments are %q", args)
	}
	return flags
}
