package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// addCobras adds the two commands that cobra brings, and makes them behave as ours do: what is called wrongly is said, with
// code 2, and each has an example.
func addCobras(root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Say what a command does, and how it is called",
		Example: "  engram-sidecar help journal verify",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, rest)
			}
			return about.Help()
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args, c.RunE = cobra.ArbitraryArgs, unknownCommand
		c.Example = "  engram-sidecar completion bash | sudo tee /etc/bash_completion.d/engram-sidecar"
		for _, shell := range c.Commands() {
			shell.Args, shell.Example = noArguments, examples(shell.Long, root.Name())
		}
	}
}

// examples are the commands in a long help, which cobra writes among its text.
func examples(long, name string) string {
	var lines []string
	for line := range strings.Lines(long) {
		if line = strings.TrimSpace(line); strings.Contains(line, name+" completion ") {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(lines[:min(2, len(lines))], "\n")
}
