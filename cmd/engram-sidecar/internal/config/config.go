package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/postgres"
)

// Config is everything serve can be told. Settings says under which name.
type Config struct {
	Listen          string        // gRPC: host:port or unix:///path
	AdminListen     string        // HTTP: host:port
	DataDir         string        // absolute or relative path; made where it is missing
	Store           string        // embedded, engram://host:port[,host:port…], engrams://… or postgres://…; it may hold a password: show StoreShown
	PostgresIndex   string        // none or hnsw
	PostgresSearch  int           // hnsw.ef_search; 0: the store's default
	StoreTo         StoreTo       // how to talk to an Engram store
	DefaultSpace    string        // for clients that name none
	SessionTimeout  time.Duration // how long a session without a stream can be resumed
	JournalBytes    Size          // 0: half of the free disk, at most 10 GiB
	JournalReserve  Size          // of the disk that stays free; 0: the larger of 16 MiB and 2 % of the disk
	LaneCapacity    Lanes         // records; 0: no limit but the journal's quota
	MaxSessions     int           // that can be resumed at once
	MaxConnections  int
	MaxStreams      int    // calls open on one connection
	ClientBytes     Size   // a second, of one client; 0: no limit
	ClientWrites    int    // likewise
	MaxCancelled    int    // calls a second that one connection may go on cancelling
	MaxRefused      int    // messages a second that bring nothing durable, of streams that send many in a row
	EmbeddedMax     int    // memories in the embedded store, superseded versions among them; 0: no limit
	MaxEpisode      Size   // one episode or memory
	MaxMessage      Size   // one gRPC message, decompressed
	DeadLetters     int    // most that are kept; 0: no limit
	DeadLetterBytes Size   // likewise
	TokenFile       string // "": clients show no token
	AdminTokenFile  string // "": those of TokenFile
	TLSCert         string // "": connections are in the clear
	TLSKey          string
	TLSClientCA     string // "": clients show no certificate
	AdminTLS        bool
	ListenUsers     Users // who may use the unix socket; none: the own user and root
	Pprof           bool
	LogLevel        string // trace, debug, info, warn, error or off
	LogFormat       string // auto, text or json
	Strict          bool   // refuse to start on a damaged journal
	InsecureListen  bool   // allow a listener that other machines can reach
}

// Default returns the settings that hold where nothing else is said. DataDir depends on the environment.
func Default(env Lookup) Config {
	return Config{
		Listen:          "127.0.0.1:50051",
		AdminListen:     "127.0.0.1:50052",
		DataDir:         defaultDataDir(env),
		Store:           "embedded",
		PostgresIndex:   "none",
		DefaultSpace:    "default",
		SessionTimeout:  5 * time.Minute,
		MaxSessions:     20_000,
		MaxConnections:  16_384,
		MaxStreams:      1024,
		MaxCancelled:    500,
		MaxRefused:      10_000,
		MaxEpisode:      256 << 10,
		MaxMessage:      MiB,
		DeadLetters:     100_000,
		DeadLetterBytes: 256 * MiB,
		LogLevel:        "info",
		LogFormat:       "auto",
	}
}

// defaultDataDir is what systemd made for the service, else the user's own place for state. It is empty where neither is
// known, and then refused by Validate.
func defaultDataDir(env Lookup) string {
	if dirs := env("STATE_DIRECTORY"); dirs != "" {
		first, _, _ := strings.Cut(dirs, ":") // a unit may have several
		return first
	}
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) { // the XDG rules say to ignore a relative one
		return filepath.Join(dir, "engram-sidecar")
	}
	if home := env("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", "engram-sidecar")
	}
	return ""
}

// Lookup returns an environment variable, or "". os.Getenv is one.
type Lookup func(name string) string

var _ Lookup = os.Getenv

// spaceRule is what a memory space may be called.
var spaceRule = regexp.MustCompile(`^[a-z0-9_-]{3,64}$`)

// Validate refuses what can't work. Each line of the error names one setting.
func (c Config) Validate() error {
	return errors.Join(
		c.validateListen("listen", c.Listen, true),
		c.validateListen("admin-listen", c.AdminListen, false),
		c.validateStore(),
		c.validateAccess(),
		c.validatePlain(),
	)
}

func (c Config) validatePlain() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		bad("data-dir: expected a directory, got none, and neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set: give --data-dir")
	}
	if !spaceRule.MatchString(c.DefaultSpace) {
		bad("default-space: expected 3 to 64 characters of a-z 0-9 - _, got %q", c.DefaultSpace)
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 30*24*time.Hour {
		bad("session-timeout: expected 1s to 720h, got %v", c.SessionTimeout)
	}
	if c.JournalBytes != 0 && c.JournalBytes < MinJournal {
		bad("journal-max-bytes: expected 0 for automatic, or at least %v, got %v", MinJournal, c.JournalBytes)
	}
	if c.EmbeddedMax < 0 {
		bad("embedded-max-memories: expected a count such as 2000000, or 0 for no limit, got %d", c.EmbeddedMax)
	}
	if c.ClientBytes > GiB {
		bad("client-bytes-per-second: expected at most %v, or 0 for no limit, got %v", GiB, c.ClientBytes)
	}
	if c.ClientWrites < 0 || c.ClientWrites > int(GiB) {
		bad("client-observations-per-second: expected a count such as 1000, or 0 for no limit, got %d", c.ClientWrites)
	}
	if c.DeadLetters < 0 {
		bad("dead-letters-max: expected a count such as 100000, or 0 for no limit, got %d", c.DeadLetters)
	}
	if hclog.LevelFromString(c.LogLevel) == hclog.NoLevel {
		bad("log-level: expected trace, debug, info, warn, error or off, got %q", c.LogLevel)
	}
	if formats := []string{"auto", "text", "json"}; !slices.Contains(formats, c.LogFormat) {
		bad("log-format: expected auto, text or json, got %q", c.LogFormat)
	}
	return errors.Join(errs...)
}

// MinJournal is the least a journal can work in: a few generations, one filling while others drain.
const MinJournal = 16 * MiB

func (c Config) validateListen(key, address string, mayBeUnix bool) error {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !mayBeUnix {
			return fmt.Errorf("%s: expected host:port, got %q: HTTP is not served on a unix socket", key, address)
		}
		if !filepath.IsAbs(path) || len(path) > maxSocketPath {
			return fmt.Errorf("%s: expected unix:// and an absolute path of at most %d bytes, got %q", key, maxSocketPath, address)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isPort(port) {
		return fmt.Errorf("%s: expected host:port or unix:///path, got %q", key, address)
	}
	if !isLoopback(host) && !c.guarded(key) && !c.InsecureListen {
		return fmt.Errorf("%s: %q can be reached from other machines, and anyone there could read and write: use 127.0.0.1, %s, "+
			"or insist with insecure-listen", key, address, guards[key])
	}
	return nil
}

// maxSocketPath is what fits into a Linux sockaddr_un with its final zero.
const maxSocketPath = 107

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// isLoopback takes the literal addresses and localhost. Any other name could resolve to anything.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (c Config) validateStore() error {
	switch kind, address := c.StoreKind(); {
	case kind == "embedded" && address == "":
		return c.StoreTo.validateNone()
	case kind == "engram":
		_, err := c.Engram()
		return err
	case kind == "postgres":
		p := postgres.Config{URL: c.Store, Index: postgres.Index(c.PostgresIndex), Search: c.PostgresSearch}
		return errors.Join(c.StoreTo.validateNone(), p.Validate())
	}
	return fmt.Errorf("store: expected embedded, engram://host:port or postgres://user@host:port/database, got %q", c.StoreShown())
}

// StoreKind splits the store's setting into its kind and, for a store elsewhere, its address. Of a PostgreSQL URL that is host,
// port and database; a password may be in the rest. Engram over TLS is Engram.
func (c Config) StoreKind() (kind, address string) {
	kind, address, _ = strings.Cut(c.Store, "://")
	switch kind {
	case "engrams":
		return "engram", address
	case "postgres", "postgresql":
	default:
		return kind, address
	}
	u, err := url.Parse(c.Store)
	if err != nil {
		return "postgres", "(unreadable)"
	}
	return "postgres", u.Host + u.Path
}

// StoreShown is the store's setting as it may be logged: without user, password and options, where it is a URL with any.
func (c Config) StoreShown() string {
	kind, address := c.StoreKind()
	switch {
	case kind == "postgres":
		return kind + "://" + address
	case strings.ContainsAny(address, "@?"): // some other URL, whose password may hold an @ of its own
		address, _, _ = strings.Cut(address[strings.LastIndex(address, "@")+1:], "?")
		return kind + "://" + address
	default:
		return c.Store
	}
}
