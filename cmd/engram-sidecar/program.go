package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
)

// program is one call of the command with its surroundings, so that a test can make them up.
type program struct {
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	environ []string
	hangups func() (wishes <-chan os.Signal, stop func()) // nil where nobody wishes
}

// run runs the command line and returns the exit code. It ends soon after ctx does.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root() //nolint:contextcheck // the commands get ctx from cobra; serve's parts outlive it to end in order
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		complain(p.stderr, err)
	}
	return codeOf(err)
}

// moreCommands are those of a build with a tag of its own: see man.go.
var moreCommands []func(*program) *cobra.Command

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "engram-sidecar",
		Short: "Takes observations for the Engram memory database, and loses none that it acknowledged",
		Long: `engram-sidecar stands beside an application and takes its observations for the Engram memory database.
It journals each one, acknowledges it when it is on disk, and delivers it to the store when the store
can take it. What is acknowledged can be recalled at once, and survives kill -9 and a restart.`,
		Example: `  engram-sidecar serve
  engram-sidecar observe --file notes.txt
  engram-sidecar recall "where did we meet"`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          unknownCommand,
	}
	root.SetVersionTemplate(about())
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w%s: see %s --help", err, hint(cmd, err), cmd.CommandPath())
	})
	root.AddCommand(p.serveCommand(), p.observeCommand(), p.recallCommand(), p.statusCommand(), p.sessionsCommand(), p.drainCommand(), p.doctorCommand(), p.configCommand(),
		p.journalCommand(), p.deadlettersCommand(), p.storeCommand(), p.backupCommand(), p.restoreCommand(), p.benchCommand(), p.versionCommand())
	for _, more := range moreCommands {
		root.AddCommand(more(p))
	}
	addCobras(root)
	return root
}

// unknownCommand answers what is none of the commands. Without anything it shows what there is.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if near := config.Nearest(args[0], names); near != "" {
		return usage("unknown command %q: did you mean %s?", args[0], near)
	}
	return usage("unknown command %q: see %s --help", args[0], cmd.CommandPath())
}

// noArguments refuses arguments where a command takes only flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unexpected argument %q: %s takes only flags, see %s --help", args[0], cmd.Name(), cmd.CommandPath())
	}
	return nil
}
