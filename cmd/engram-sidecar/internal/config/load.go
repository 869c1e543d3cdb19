package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Sources are the places settings come from.
type Sources struct {
	Flags   map[string]string // those that were given on the command line, by name
	Environ []string          // what os.Environ returns
	File    string            // path of a YAML file; "" means that of ENGRAM_SIDECAR_CONFIG, and else none
}

// Load merges the sources, refuses unknown names, and validates what comes out.
func Load(src Sources) (Config, error) {
	c, _, err := LoadEffective(src)
	return c, err
}

// LoadEffective does so, and says where each value came from.
func LoadEffective(src Sources) (Config, []Effective, error) {
	env := settingsOf(src.Environ)
	if src.File == "" {
		src.File, _ = env[fileKey].(string)
	}
	delete(env, fileKey)
	fromFile, err := readFile(src.File)
	if err != nil {
		return Config{}, nil, err
	}
	m := merger{koanf.New("."), map[string]string{}}
	for _, layer := range []struct {
		name     string
		settings map[string]any
	}{{src.File, fromFile}, {"environment", env}, {"command line", asAny(src.Flags)}} {
		if err := m.lay(layer.name, layer.settings); err != nil {
			return Config{}, nil, err
		}
	}
	c := Default(lookupIn(src.Environ))
	if err := m.decode(&c); err != nil {
		return Config{}, nil, err
	}
	return c, m.effective(c), m.attribute(c.Validate())
}

// fileKey names the file itself: a flag and a variable, but no key of the file.
const fileKey = "config"

func readFile(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return nil, fmt.Errorf("config: reading %q: expected a YAML file of settings: %w", path, err)
	}
	return k.All(), nil
}

func asAny(flags map[string]string) map[string]any {
	settings := make(map[string]any, len(flags))
	for k, v := range flags {
		settings[k] = v
	}
	return settings
}

// merger lays the sources over each other and remembers which one each value came from.
type merger struct {
	*koanf.Koanf
	origin map[string]string
}

func (m merger) lay(from string, settings map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if find(key) == nil {
			return unknown(key, from)
		}
		m.origin[key] = from
	}
	if err := m.Load(confmap.Provider(settings, "."), nil); err != nil {
		return fmt.Errorf("config: merging %s: %w", from, err)
	}
	return nil
}

// unknown refuses a name in the spelling of its source.
func unknown(key, from string) error {
	spell := func(key string) string { return key }
	if from == "environment" {
		spell = EnvName
	}
	if near := Nearest(key, Names()); near != "" {
		return fmt.Errorf("%s: unknown setting (%s): did you mean %s?", spell(key), from, spell(near))
	}
	return fmt.Errorf("%s: unknown setting (%s): expected one of %s", spell(key), from, strings.Join(Names(), ", "))
}

func (m merger) decode(c *Config) error {
	var errs []error
	for i := range Settings {
		s := &Settings[i]
		if !m.Exists(s.Name) {
			continue
		}
		text, err := textOf(m.Get(s.Name))
		if err == nil {
			err = s.parse(c, text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	return m.attribute(errors.Join(errs...))
}

// textOf writes a value of a YAML file as one would on the command line.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", errors.New("expected a value, got none: leave the line out to keep the default")
	case []any:
		parts := make([]string, len(v))
		for i, part := range v {
			parts[i] = fmt.Sprint(part)
		}
		return strings.Join(parts, ","), nil
	default:
		return fmt.Sprint(v), nil
	}
}

// attribute says behind each message where the value came from that it is about.
func (m merger) attribute(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil {
			return nil
		}
		key, _, _ := strings.Cut(err.Error(), ":")
		if from := m.origin[key]; from != "" {
			return fmt.Errorf("%w (from %s)", err, from)
		}
		return err
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, m.attribute(e))
	}
	return errors.Join(errs...)
}
