package config

import (
	"net/url"
	"regexp"
	"strings"
)

// Effective is one setting as it holds.
type Effective struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // as one would write it; secrets in it are hidden
	Source string `json:"source"` // command line, environment, the file's name, or default
}

// effective lists all settings in the order of help.
func (m merger) effective(c Config) []Effective {
	all := make([]Effective, 0, len(Settings))
	for i := range Settings {
		s := &Settings[i]
		e := Effective{Name: s.Name, Value: s.Default, Source: "default"}
		switch {
		case m.origin[s.Name] != "":
			e.Value, _ = textOf(m.Get(s.Name)) // decode has read it
			e.Source = m.origin[s.Name]
		case s.Name == "data-dir":
			e.Value = c.DataDir
		case !plainDefault(s):
			e.Value = ""
		}
		e.Value = HideSecrets(e.Value)
		all = append(all, e)
	}
	return all
}

// plainDefault says that a setting's default is a value, and no description of one.
func plainDefault(s *Setting) bool {
	var c Config
	return s.Default != "none" && !strings.Contains(s.Default, " ") && s.parse(&c, s.Default) == nil
}

// hidden stands for a secret.
const hidden = "xxxxx"

var passwordWord = regexp.MustCompile(`(?i)((?:password|passwd|secret|token)\s*=\s*)('[^']*'|[^\s&]+)`)

// HideSecrets hides the password of an address, however it is written.
func HideSecrets(value string) string {
	if u, err := url.Parse(value); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			u.User = url.UserPassword(u.User.Username(), hidden)
			value = u.String()
		}
	} else if at := strings.LastIndex(value, "@"); at > 0 && strings.Contains(value, "://") { // too odd to be read
		value = value[:strings.Index(value, "://")+3] + hidden + value[at:]
	}
	return passwordWord.ReplaceAllString(value, "${1}"+hidden)
}
