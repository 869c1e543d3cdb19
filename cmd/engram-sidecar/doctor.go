package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// finding is what the doctor says of one thing.
type finding struct {
	What   string `json:"what"`
	Grade  string `json:"grade"` // ok, warning or failure
	Said   string `json:"said"`
	Remedy string `json:"remedy,omitempty"`
}

const (
	gradeOK      = "ok"
	gradeWarning = "warning"
	gradeFailure = "failure"
)

func well(what, format string, args ...any) finding {
	return finding{What: what, Grade: gradeOK, Said: fmt.Sprintf(format, args...)}
}

func (p *program) doctorCommand() *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what would keep the sidecar from doing its work, and say what to do",
		Long: `doctor takes the settings as serve would and looks at each thing that serve rests on: the data directory and who may use
it, the disk and how long its fsync takes, clock, ports, store, the processor, and the journal with its ledger, which is read in a
process of its own. It changes nothing but a probe file that it removes, and may be run beside a sidecar. The code is
0 where nothing failed, and 1 where something did; a warning is none.`,
		Example: `  engram-sidecar doctor
  engram-sidecar doctor --config /etc/engram-sidecar/config.yaml --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Sources{Flags: givenSettings(cmd.Flags()), Environ: p.environ, File: file})
			if err != nil {
				return badConfig(err)
			}
			return p.doctor(cmd.Context(), cfg, asJSON)
		},
	}
	addSettings(c.Flags())
	c.Flags().StringVar(&file, "config", "", "YAML `FILE` of settings (default none)")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of findings")
	return c
}

func (p *program) doctor(ctx context.Context, cfg config.Config, asJSON bool) error {
	findings := p.examine(ctx, cfg)
	failed := 0
	var b strings.Builder
	for _, f := range findings {
		if f.Grade == gradeFailure {
			failed++
		}
		fmt.Fprintf(&b, "%-8s %-12s %s\n", f.Grade, f.What, printable(f.Said))
		if f.Remedy != "" {
			fmt.Fprintf(&b, "%-8s %-12s → %s\n", "", "", printable(f.Remedy))
		}
	}
	var err error
	if asJSON {
		err = p.writeJSON(findings)
	} else {
		err = p.write(b.String())
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d things would keep the sidecar from its work: what to do stands above", failed, len(findings))
	}
	return err
}

// examine looks at everything, in the order in which a start needs it.
func (p *program) examine(ctx context.Context, cfg config.Config) []finding {
	holder, err := wal.LockHolder(cfg.DataDir)
	running := err == nil && holder != ""
	found := []finding{examineSettings(cfg), examineDirectory(cfg, holder)}
	found = append(found, examineDisk(cfg), examineFsync(cfg), examineClock())
	found = append(found, examineAddresses(cfg, running)...)
	return append(found, examineStore(ctx, cfg, hclog.NewNullLogger()), examineProcessor(), p.examineJournal(ctx, cfg))
}

// examineSettings reads the files that the settings name.
func examineSettings(cfg config.Config) finding {
	if _, err := newGuard(cfg); err != nil {
		return finding{"settings", gradeFailure, err.Error(), "mend the file, or leave the setting out"}
	}
	if warnings := cfg.Warnings(); len(warnings) > 0 {
		return finding{"settings", gradeWarning, strings.Join(warnings, "; "), "see docs/security.md"}
	}
	return well("settings", "they can work")
}
