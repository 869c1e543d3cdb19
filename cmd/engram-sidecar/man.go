//go:build man

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// A build with the tag man is for making a release: it writes the manual pages, and links what that takes, which the
// program itself does not.
func init() {
	moreCommands = append(moreCommands, func(*program) *cobra.Command {
		return &cobra.Command{
			Use: "man DIR", Hidden: true, Args: oneDirectory,
			Short:   "Write the manual pages",
			Example: "  go run -tags man ./cmd/engram-sidecar man bin/man",
			RunE: func(cmd *cobra.Command, args []string) error {
				root := cmd.Root()
				root.DisableAutoGenTag = true // it would say when: the same sources give the same bytes
				return doc.GenManTree(root, &doc.GenManHeader{
					Section: "1", Source: "engram-sidecar " + version, Manual: "engram-sidecar",
				}, args[0])
			},
		}
	})
}
