package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

const rulesFile = "../../docs/deploy/prometheus/alerts.yml"

// prometheus is a real one that scrapes whatever it is told to watch, and knows the alert rules with minutes as seconds.
type prometheus struct {
	address string
	dir     string

	mu      sync.Mutex
	targets map[string]string // address by instance
}

// startPrometheus runs one for the length of the test.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	bin := harness.Tool(t, "prometheus", "prometheus")
	p := &prometheus{address: harness.FreeAddress(t), dir: t.TempDir(), targets: map[string]string{}}
	p.write(t, "alerts.yml", quick(t))
	p.write(t, "targets.json", "[]")
	p.write(t, "prometheus.yml", `
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: engram-sidecar
    file_sd_configs: [{files: [targets.json]}]
`)
	c := harness.Command(t, bin, "--config.file="+filepath.Join(p.dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(p.dir, "data"),
		"--web.listen-address="+p.address, "--log.level=warn")
	var log harness.Transcript
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended by itself, of which its log tells
		_ = c.Wait()
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", log.String())
		}
	})
	p.await(t, "Prometheus to be ready", func() (bool, string) {
		_, err := p.get("/-/ready", nil)
		return err == nil, fmt.Sprint(err)
	})
	return p
}

// quick is the rules with each minute as a second.
func quick(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []map[string]any
		}
	}
	if err := yaml.Unmarshal(b, &rules); err != nil {
		t.Fatal(err)
	}
	minutes, other := regexp.MustCompile(`\b(\d+)m\b`), regexp.MustCompile(`\b\d+(ms|s|h|d|w)\b`)
	changed := 0
	for _, rule := range rules.Groups[0].Rules {
		for _, key := range []string{"expr", "for"} {
			text, _ := rule[key].(string)
			if other.MatchString(text) {
				t.Fatalf("%s: %q has a time that is not in minutes", rulesFile, text)
			}
			now := strings.ReplaceAll(minutes.ReplaceAllString(text, "${1}s"), "* 60", "* 1")
			if now != text {
				rule[key] = now
				changed++
			}
		}
	}
	if len(rules.Groups) != 1 || changed == 0 {
		t.Fatalf("%s: expected one group with times in minutes, found %d groups and %d times", rulesFile, len(rules.Groups), changed)
	}
	out, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": rules.Groups[0].Name, "rules": rules.Groups[0].Rules}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (p *prometheus) write(t *testing.T, name, text string) {
	t.Helper()
	temporary := filepath.Join(p.dir, name+".new")
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(p.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// watch makes it scrape an address, under the name of an instance.
func (p *prometheus) watch(t *testing.T, instance, address string) {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets[instance] = address
	var groups []group
	for name, at := range p.targets {
		groups = append(groups, group{[]string{at}, map[string]string{"instance": name}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "targets.json", string(text))
}

func (p *prometheus) get(path string, into any) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.address + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	if into == nil {
		return string(body), nil
	}
	return string(body), json.Unmarshal(body, into)
}

// await polls until something holds.
func (p *prometheus) await(t *testing.T, what string, holds func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(2 * harness.Patience)
	for {
		ok, said := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: not within %v; last: %s", what, 2*harness.Patience, said)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// firing lists the alerts that fire for an instance, and those that are about to.
func (p *prometheus) firing(instance string) (firing, pending []string, err error) {
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if _, err := p.get("/api/v1/alerts", &answer); err != nil {
		return nil, nil, err
	}
	for _, a := range answer.Data.Alerts {
		switch {
		case a.Labels["instance"] != instance:
		case a.State == "firing":
			firing = append(firing, a.Labels["alertname"])
		default:
			pending = append(pending, a.Labels["alertname"])
		}
	}
	slices.Sort(firing)
	return slices.Compact(firing), pending, nil
}

// fires waits until all the named alerts have fired for an instance, each at some time, and returns whatever else did.
func (p *prometheus) fires(t *testing.T, instance string, names ...string) {
	t.Helper()
	seen := map[string]bool{}
	p.await(t, fmt.Sprintf("%v to fire for %s", names, instance), func() (bool, string) {
		firing, pending, err := p.firing(instance)
		for _, name := range firing {
			seen[name] = true
		}
		all := !slices.ContainsFunc(names, func(name string) bool { return !seen[name] })
		return all, fmt.Sprintf("fired %v, firing %v, pending %v, %v", seen, firing, pending, err)
	})
}

// quiet waits until an instance is scraped and nothing fires or is about to.
func (p *prometheus) quiet(t *testing.T, instance string) {
	t.Helper()
	p.await(t, "silence of "+instance, func() (bool, string) {
		firing, pending, err := p.firing(instance)
		up := p.value(fmt.Sprintf("up{instance=%q}", instance))
		return err == nil && up == "1" && len(firing)+len(pending) == 0, fmt.Sprintf("up %q, firing %v, pending %v, %v", up, firing, pending, err)
	})
}

// value is that of an expression's only series, "" without one.
func (p *prometheus) value(expr string) string {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if _, err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil || len(answer.Data.Result) == 0 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}
