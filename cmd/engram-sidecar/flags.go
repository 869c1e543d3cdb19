package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
)

// hint names the flag that an unknown one was most likely meant to be.
func hint(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return fmt.Sprintf(": did you mean --%s?", near)
	}
	return ""
}

// settingFlag takes a setting's text as it is given. Whether it is any good is judged with those of the other sources.
type settingFlag struct {
	text string
	kind string
}

// String implements pflag.Value.
func (f *settingFlag) String() string { return f.text }

// Set implements pflag.Value.
func (f *settingFlag) Set(text string) error { f.text = text; return nil }

// Type implements pflag.Value; help shows it behind the flag's name.
func (f *settingFlag) Type() string { return f.kind }

// addSettings gives a command a flag for each setting.
func addSettings(flags *pflag.FlagSet) {
	flags.SortFlags = false
	for _, s := range config.Settings {
		if s.Value == "" {
			flags.VarPF(&settingFlag{kind: "bool"}, s.Name, "", s.Help).NoOptDefVal = "true"
			continue
		}
		flags.Var(&settingFlag{kind: s.Value}, s.Name, fmt.Sprintf("%s (default %s)", s.Help, s.Default))
	}
}

// givenSettings returns the settings that were given as flags.
func givenSettings(flags *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	flags.Visit(func(f *pflag.Flag) {
		if _, ok := f.Value.(*settingFlag); ok {
			given[f.Name] = f.Value.String()
		}
	})
	return given
}
