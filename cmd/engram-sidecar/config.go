package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
)

func (p *program) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Show settings, check a file of them, write one to begin from",
		Example: `  engram-sidecar config print --effective
  engram-sidecar config validate /etc/engram-sidecar/config.yaml
  engram-sidecar config example > config.yaml`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	c.AddCommand(p.configPrintCommand(), p.configValidateCommand(), p.configExampleCommand())
	return c
}

func (p *program) configPrintCommand() *cobra.Command {
	var file string
	var effective, asJSON bool
	c := &cobra.Command{
		Use:   "print",
		Short: "Show which settings hold, and where each came from",
		Long: `print takes the flags of serve, reads the environment and the file as serve would, and shows what comes out, as YAML
that can be given to --config. Without --effective it shows only what differs from the defaults. Passwords are hidden.`,
		Example: `  engram-sidecar config print --effective
  engram-sidecar config print --config /etc/engram-sidecar/config.yaml --log-level debug`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, all, err := config.LoadEffective(config.Sources{Flags: givenSettings(cmd.Flags()), Environ: p.environ, File: file})
			if err != nil {
				return badConfig(err)
			}
			shown := []config.Effective{}
			for _, e := range all {
				if effective || e.Source != "default" {
					shown = append(shown, e)
				}
			}
			if asJSON {
				return p.writeJSON(shown)
			}
			return p.write(settingsText(shown))
		},
	}
	addSettings(c.Flags())
	c.Flags().StringVar(&file, "config", "", "YAML `FILE` of settings (default none)")
	c.Flags().BoolVar(&effective, "effective", false, "show the defaults too")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of name, value and source")
	return c
}

// settingsText writes settings as YAML, with their sources as remarks. What has no value is a remark whole.
func settingsText(shown []config.Effective) string {
	var b strings.Builder
	for _, e := range shown {
		line := fmt.Sprintf("%s: %q", e.Name, printable(e.Value))
		if e.Value == "" {
			line = "#" + e.Name + ":"
		}
		fmt.Fprintf(&b, "%-60s # %s\n", line, printable(e.Source))
	}
	return b.String()
}

func (p *program) configValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Say whether a file of settings can work",
		Long: `validate reads the file alone, without flags and environment, and says what is wrong in it (code 78), or that nothing is.
What works, and is better known, is said on stderr.`,
		Example: "  engram-sidecar config validate /etc/engram-sidecar/config.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("expected one file, got %d: see %s --help", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := config.Load(config.Sources{File: args[0], Environ: []string{"HOME=/"}})
			if err != nil {
				return badConfig(err)
			}
			for _, warning := range c.Warnings() {
				_, _ = fmt.Fprintf(p.stderr, "engram-sidecar: %s\n", printable(warning)) // a remark
			}
			return p.write(printable(args[0]) + " can work\n")
		},
	}
}

func (p *program) configExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "example",
		Short:   "Write a file of all settings with their defaults",
		Example: "  engram-sidecar config example > config.yaml",
		Args:    noArguments,
		RunE:    func(*cobra.Command, []string) error { return p.write(config.Example()) },
	}
}
