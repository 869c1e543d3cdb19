package config

import (
	"fmt"
	"slices"
	"strings"
)

// live are the settings that SIGHUP changes in a running sidecar, and what becomes of those whose files it reads again.
var live = map[string]string{
	"log-level":                      "yes",
	"max-sessions":                   "yes",
	"max-connections":                "yes",
	"max-episode-bytes":              "yes",
	"session-timeout":                "yes",
	"client-bytes-per-second":        "yes",
	"client-observations-per-second": "yes",
	"token-file":                     "the file is read again",
	"admin-token-file":               "the file is read again",
	"tls-cert":                       "the file is read again",
	"tls-key":                        "the file is read again",
	"tls-client-ca":                  "the file is read again",
}

// Live says whether SIGHUP changes a setting in a running sidecar.
func Live(name string) bool { return live[name] == "yes" }

// Changed names the settings whose values differ, in the order of help.
func Changed(before, after []Effective) []string {
	var names []string
	for _, e := range after {
		i := slices.IndexFunc(before, func(b Effective) bool { return b.Name == e.Name })
		if i < 0 || before[i].Value != e.Value {
			names = append(names, e.Name)
		}
	}
	return names
}

// Reference is docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by ` + "`UPDATE=1 go test ./cmd/engram-sidecar -run TestReference`" + ` from the settings themselves. -->

Each setting has one name in three places: ` + "`--data-dir`" + ` on the command line of ` + "`serve`" + `, ` + "`ENGRAM_SIDECAR_DATA_DIR`" + ` in the
environment, ` + "`data-dir:`" + ` in the YAML file that ` + "`--config`" + ` or ` + "`ENGRAM_SIDECAR_CONFIG`" + ` names. The flag wins over the variable, the
variable over the file, the file over the default. A name that is none is refused, with the nearest that is one.

` + "```" + `
engram-sidecar config example > config.yaml          # every setting with its default, to begin from
engram-sidecar config validate config.yaml           # 0 where it can work, 78 and why where not
engram-sidecar config print --effective              # what holds, and where it came from; secrets are hidden
kill -HUP PID                                        # read file and environment's files again
` + "```" + `

SIGHUP reads the file again, and changes in the running sidecar what can be changed there; it logs what of the rest has
changed and needs a restart. A file that cannot work changes nothing.

`)
	for i := range Settings {
		s := &Settings[i]
		value := s.Value
		if value == "" {
			value = "true or false"
		}
		again := live[s.Name]
		if again == "" {
			again = "no, needs a restart"
		}
		def := "`" + s.Default + "`"
		if !plainDefault(s) {
			def = s.Default
		}
		fmt.Fprintf(&b, "## `%s`\n\n%s%s.\n\n| value | default | variable | changed by SIGHUP |\n|---|---|---|---|\n| %s | %s | `%s` | %s |\n\n",
			s.Name, strings.ToUpper(s.Help[:1]), strings.TrimSuffix(s.Help[1:], "."), strings.ReplaceAll(value, "|", "\\|"), def, EnvName(s.Name), again)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Example is a file of all settings with their defaults, each behind a #.
func Example() string {
	var b strings.Builder
	b.WriteString("# Settings of engram-sidecar. Take the # away from what is to differ from the default that stands there.\n")
	for i := range Settings {
		s := &Settings[i]
		fmt.Fprintf(&b, "\n# %s\n", s.Help)
		value := s.Default
		switch {
		case !plainDefault(s):
			fmt.Fprintf(&b, "# The default is %s.\n", s.Default)
			value = s.Value
		case strings.Contains(value, ","):
			value = `"` + value + `"`
		}
		fmt.Fprintf(&b, "#%s: %s\n", s.Name, value)
	}
	return b.String()
}
