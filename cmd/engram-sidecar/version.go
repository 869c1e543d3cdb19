package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

// build says which program this is.
func build() admin.Build {
	b := admin.Build{Version: version, GoVersion: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}

func about() string {
	b := build()
	revision := b.Revision
	if revision == "" {
		revision = "unknown"
	}
	return fmt.Sprintf("engram-sidecar %s, commit %s, %s %s/%s\n", b.Version, revision, b.GoVersion, runtime.GOOS, runtime.GOARCH)
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Say which program this is",
		Example: "  engram-sidecar version --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return p.writeJSON(build())
			}
			return p.write(about())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}
