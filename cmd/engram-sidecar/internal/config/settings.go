package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Setting is one thing serve can be told, under one name everywhere.
type Setting struct {
	Name    string // of the flag and of the file's key
	Value   string // what stands for the value in help; "" for a switch
	Help    string
	Default string // as help shows it
	parse   func(c *Config, text string) error
}

// Settings lists every setting in the order in which help shows them.
var Settings = []Setting{
	{
		"listen", "ADDRESS", "where gRPC is served: host:port, or unix:///path", "127.0.0.1:50051",
		text(func(c *Config) *string { return &c.Listen }),
	},
	{
		"admin-listen", "ADDRESS", "where health, metrics and status are served: host:port", "127.0.0.1:50052",
		text(func(c *Config) *string { return &c.AdminListen }),
	},
	{
		"data-dir", "DIR", "the data directory, one process at a time", "$STATE_DIRECTORY, else $XDG_STATE_HOME/engram-sidecar, else ~/.local/state/engram-sidecar",
		text(func(c *Config) *string { return &c.DataDir }),
	},
	{
		"store", "STORE", "what the observations go to: embedded, engram://host:port[,host:port...], engrams://... for TLS, or postgres://user@host:port/database", "embedded",
		text(func(c *Config) *string { return &c.Store }),
	},
	{
		"postgres-index", "KIND", "how PostgreSQL finds vectors: none (exact), or hnsw (approximate, and slower to fill), built beside the work", "none",
		text(func(c *Config) *string { return &c.PostgresIndex }),
	},
	{
		"postgres-ef-search", "COUNT", "how many candidates a recall over the hnsw index keeps, up to 1000; 0 means 100", "0",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.PostgresSearch }, "a count such as 100"),
	},
	{
		"store-token-file", "FILE", "token that goes with each call to the store; read anew each time", "none",
		text(func(c *Config) *string { return &c.StoreTo.TokenFile }),
	},
	{
		"store-ca-file", "FILE", "certificates (PEM) that may have signed the store's, instead of the system's", "none",
		text(func(c *Config) *string { return &c.StoreTo.CAFile }),
	},
	{
		"store-server-name", "NAME", "who the store's certificate has to be for, instead of the host in its address", "none",
		text(func(c *Config) *string { return &c.StoreTo.ServerName }),
	},
	{
		"store-cert-file", "FILE", "certificate (PEM) that is shown to the store", "none",
		text(func(c *Config) *string { return &c.StoreTo.CertFile }),
	},
	{
		"store-key-file", "FILE", "the key of that certificate (PEM)", "none",
		text(func(c *Config) *string { return &c.StoreTo.KeyFile }),
	},
	{
		"store-proxy", "", "reach the store through the proxy that HTTPS_PROXY and NO_PROXY name, which are ignored otherwise", "false",
		parsed(strconv.ParseBool, func(c *Config) *bool { return &c.StoreTo.Proxy }, "true or false"),
	},
	{
		"default-space", "SPACE", "memory space of clients that name none", "default",
		text(func(c *Config) *string { return &c.DefaultSpace }),
	},
	{
		"session-timeout", "DURATION", "how long a session without a stream can be resumed", "5m",
		parsed(time.ParseDuration, func(c *Config) *time.Duration { return &c.SessionTimeout }, "a duration such as 5m or 1h30m"),
	},
	{
		"journal-max-bytes", "SIZE", "most the journal may use, such as 512MiB; 0 means half of the free disk, at most 10GiB", "0",
		func(c *Config, text string) error { return c.JournalBytes.UnmarshalText([]byte(text)) },
	},
	{
		"lane-capacity", "HIGH,NORMAL,LOW", "most records that may wait in each lane; 0 means only the journal's limit holds", "0,0,0",
		func(c *Config, text string) error { return c.LaneCapacity.UnmarshalText([]byte(text)) },
	},
	{
		"journal-reserve-bytes", "SIZE", "how much of the disk stays free; 0 means 16MiB or 2 % of the disk, whichever is more", "0",
		func(c *Config, text string) error { return c.JournalReserve.UnmarshalText([]byte(text)) },
	},
	{
		"max-sessions", "COUNT", "most sessions that can be resumed at once", "20000",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.MaxSessions }, "a count such as 20000"),
	},
	{
		"max-connections", "COUNT", "most connections at once; those above it are closed", "16384",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.MaxConnections }, "a count such as 16384"),
	},
	{
		"max-streams-per-connection", "COUNT", "most calls that one connection may have open", "1024",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.MaxStreams }, "a count such as 1024"),
	},
	{
		"client-bytes-per-second", "SIZE", "most bytes a second that one client may write: a token, a certificate's subject, a user of the unix socket, or all others together; 0 means no limit", "0",
		func(c *Config, text string) error { return c.ClientBytes.UnmarshalText([]byte(text)) },
	},
	{
		"client-observations-per-second", "COUNT", "most observations and other writes a second, likewise; 0 means no limit", "0",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.ClientWrites }, "a count such as 1000"),
	},
	{
		"max-cancelled-calls", "COUNT", "most calls a second that one connection may go on cancelling; above it the connection is read more slowly", "500",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.MaxCancelled }, "a count such as 500"),
	},
	{
		"max-refused-messages", "COUNT", "most messages a second that are refused, or bring nothing durable, over all streams that send many of them in a row; above it these are read more slowly", "10000",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.MaxRefused }, "a count such as 10000"),
	},
	{
		"embedded-max-memories", "COUNT", "most memories the embedded store takes, superseded versions among them; at it delivery waits; 0 means no limit", "0",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.EmbeddedMax }, "a count such as 2000000"),
	},
	{
		"max-episode-bytes", "SIZE", "largest episode or memory that is taken", "256KiB",
		func(c *Config, text string) error { return c.MaxEpisode.UnmarshalText([]byte(text)) },
	},
	{
		"max-message-bytes", "SIZE", "largest gRPC message that is taken, decompressed", "1MiB",
		func(c *Config, text string) error { return c.MaxMessage.UnmarshalText([]byte(text)) },
	},
	{
		"token-file", "FILE", "tokens that clients and operators have to show, with their rights; 0600", "none",
		text(func(c *Config) *string { return &c.TokenFile }),
	},
	{
		"admin-token-file", "FILE", "tokens for the admin address alone, instead of those of token-file", "none",
		text(func(c *Config) *string { return &c.AdminTokenFile }),
	},
	{
		"tls-cert", "FILE", "certificate chain of the gRPC address, PEM; with tls-key", "none",
		text(func(c *Config) *string { return &c.TLSCert }),
	},
	{
		"tls-key", "FILE", "its key, PEM, 0600", "none",
		text(func(c *Config) *string { return &c.TLSKey }),
	},
	{
		"tls-client-ca", "FILE", "certificates, PEM, by one of which a client's certificate must be signed", "none",
		text(func(c *Config) *string { return &c.TLSClientCA }),
	},
	{
		"admin-tls", "", "serve the admin address with tls-cert too", "false",
		parsed(strconv.ParseBool, func(c *Config) *bool { return &c.AdminTLS }, "true or false"),
	},
	{
		"listen-users", "UID,UID,…", "users whose processes may connect to the unix socket", "the sidecar's own and root",
		func(c *Config, text string) error { return c.ListenUsers.UnmarshalText([]byte(text)) },
	},
	{
		"pprof", "", "serve Go's profiles at /debug/pprof/ of the admin address", "false",
		parsed(strconv.ParseBool, func(c *Config) *bool { return &c.Pprof }, "true or false"),
	},
	{
		"dead-letters-max", "COUNT", "most dead letters that are kept; at it delivery waits until some are replayed or dropped; 0 means no limit", "100000",
		parsed(strconv.Atoi, func(c *Config) *int { return &c.DeadLetters }, "a count such as 100000"),
	},
	{
		"dead-letters-max-bytes", "SIZE", "most bytes that dead letters may take, likewise", "256MiB",
		func(c *Config, text string) error { return c.DeadLetterBytes.UnmarshalText([]byte(text)) },
	},
	{
		"log-level", "LEVEL", "trace, debug, info, warn, error or off", "info",
		text(func(c *Config) *string { return &c.LogLevel }),
	},
	{
		"log-format", "FORMAT", "auto (text on a terminal, else json), text or json", "auto",
		text(func(c *Config) *string { return &c.LogFormat }),
	},
	{
		"strict", "", "refuse to start on a damaged journal, instead of setting the damage aside and reporting it", "false",
		parsed(strconv.ParseBool, func(c *Config) *bool { return &c.Strict }, "true or false"),
	},
	{
		"insecure-listen", "", "allow listeners that other machines can reach, without encryption or authentication", "false",
		parsed(strconv.ParseBool, func(c *Config) *bool { return &c.InsecureListen }, "true or false"),
	},
	{
		"insecure-store", "", "allow the store's token to go to other machines unencrypted", "false",
		parsed(strconv.ParseBool, func(c *Config) *bool { return &c.StoreTo.PlainToken }, "true or false"),
	},
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, text string) error { *field(c) = text; return nil }
}

func parsed[T any](parse func(string) (T, error), field func(*Config) *T, expected string) func(*Config, string) error {
	return func(c *Config, text string) error {
		v, err := parse(text)
		if err != nil {
			return fmt.Errorf("expected %s, got %q", expected, text)
		}
		*field(c) = v
		return nil
	}
}

func find(name string) *Setting {
	for i := range Settings {
		if Settings[i].Name == name {
			return &Settings[i]
		}
	}
	return nil
}

// Names lists the names of all settings.
func Names() []string {
	names := make([]string, len(Settings))
	for i, s := range Settings {
		names[i] = s.Name
	}
	return names
}

const envPrefix = "ENGRAM_SIDECAR_"

// EnvName is the environment variable of a setting.
func EnvName(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// injected matches, behind the prefix, what Kubernetes sets in every pod of a namespace that has a Service named
// engram-sidecar.
var injected = regexp.MustCompile(`^(SERVICE_(HOST|PORT(_.*)?)|PORT(_.*)?)$`)

// settingsOf takes the settings out of an environment. An empty variable is one that is not set, as it is for a shell's
// ${VAR:-}.
func settingsOf(environ []string) map[string]any {
	settings := map[string]any{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		name, ok := strings.CutPrefix(name, envPrefix)
		if !ok || value == "" || injected.MatchString(name) {
			continue
		}
		settings[strings.ToLower(strings.ReplaceAll(name, "_", "-"))] = value
	}
	return settings
}

func lookupIn(environ []string) Lookup {
	return func(name string) string {
		for i := len(environ) - 1; i >= 0; i-- { // the last one counts, as for os/exec
			if value, ok := strings.CutPrefix(environ[i], name+"="); ok {
				return value
			}
		}
		return ""
	}
}
