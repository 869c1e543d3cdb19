package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

const (
	dashboardFile = "../../docs/deploy/grafana/engram-sidecar.json"
	configFile    = "../../docs/deploy/prometheus/prometheus.example.yml"
	operationsDoc = "../../docs/operations/streaming.md"
)

var metricName = regexp.MustCompile(`\b(?:engram_sidecar|process|go)_[a-z0-9_]+`)

// exported are the names of the metrics of a running sidecar.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	answer, err := s.Get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(answer.Text)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "TYPE" {
			names[fields[2]] = true
			if fields[3] == "histogram" {
				names[fields[2]+"_bucket"], names[fields[2]+"_sum"], names[fields[2]+"_count"] = true, true, true
			}
		}
	}
	if !names["engram_sidecar_pending"] || !names["engram_sidecar_ack_latency_seconds_bucket"] {
		t.Fatalf("no metrics in %s", answer.Text)
	}
	return names
}

// expressions are all PromQL of the dashboard, with Grafana's variables replaced as Grafana would.
func expressions(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	var found []string
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if expr, ok := node["expr"].(string); ok {
				found = append(found, strings.NewReplacer("$__rate_interval", "1m", "$job", ".+", "$instance", ".+").Replace(expr))
			}
			for _, v := range node {
				walk(v)
			}
		case []any:
			for _, v := range node {
				walk(v)
			}
		}
	}
	walk(dashboard)
	if len(found) < 20 {
		t.Fatalf("the dashboard has only %d expressions", len(found))
	}
	return found
}

// TestWhatIsNamedIsExported: rules and dashboard speak of metrics that a sidecar has.
func TestWhatIsNamedIsExported(t *testing.T) {
	there := exported(t)
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dashboard, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{rulesFile: rules, dashboardFile: dashboard} {
		names := metricName.FindAllString(string(text), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range names {
			if !there[name] {
				t.Errorf("%s speaks of %s, which no sidecar exports", file, name)
			}
		}
	}
}

// TestEachMetricIsDocumented: what is exported has a row in the table of the operations guide, and no row is of nothing.
func TestEachMetricIsDocumented(t *testing.T) {
	there := exported(t)
	doc, err := os.ReadFile(operationsDoc)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| `(engram_sidecar_[a-z0-9_]+)").FindAllSubmatch(doc, -1) {
		rows[string(found[1])] = true
		if !there[string(found[1])] {
			t.Errorf("%s has a row for %s, which no sidecar exports", operationsDoc, found[1])
		}
	}
	part := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if strings.HasPrefix(name, "engram_sidecar_") && !rows[name] && !(part.MatchString(name) && rows[part.ReplaceAllString(name, "")]) {
			t.Errorf("%s has no row for %s", operationsDoc, name)
		}
	}
}

// TestEachAlertIsDocumented: the operations guide says what to do.
func TestEachAlertIsDocumented(t *testing.T) {
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(operationsDoc)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`- alert: (\w+)`).FindAllSubmatch(rules, -1) {
		if !bytes.Contains(doc, append([]byte("| `"), found[1]...)) {
			t.Errorf("%s has no row for the alert %s", operationsDoc, found[1])
		}
	}
}

// TestPromtool has the rules, the example configuration and every expression of the dashboard checked by Prometheus' own tool.
func TestPromtool(t *testing.T) {
	promtool := harness.Tool(t, "promtool", "prometheus")
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var panels []rule
	for i, expr := range expressions(t) {
		panels = append(panels, rule{fmt.Sprintf("panel_%d", i), expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": panels}}})
	if err != nil {
		t.Fatal(err)
	}
	asRules := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(asRules, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", rulesFile},
		{"check", "rules", "--lint-fatal", asRules},
		{"check", "config", configFile},
	} {
		if out, err := harness.Command(t, promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}
