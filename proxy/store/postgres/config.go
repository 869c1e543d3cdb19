package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Schemes begin the address of a PostgreSQL store in the configuration.
var Schemes = []string{"postgres://", "postgresql://"}

// Index is how recalls by embedding find their way.
type Index string

// The indexes.
const (
	IndexNone Index = "none" // every memory of the space is compared: exact
	IndexHNSW Index = "hnsw" // pgvector's graph: quick with many memories, approximate, and inserts get slower by far
)

// Config says where PostgreSQL is and how to use it. The zero value of each field but URL means its default.
type Config struct {
	// URL is what the operator gave as `store`: postgres://user@host:port/database?sslmode=verify-full. It may hold a
	// password, and is never shown.
	URL string
	// Journal is the identity of the journal whose records are stored. Versions only compare within one journal.
	Journal [16]byte
	// Index is none by default. Key: postgres-index.
	Index Index
	// Search is how many candidates the hnsw index keeps in sight at least (hnsw.ef_search): more find more, and take longer.
	// 100 by default. Key: postgres-ef-search.
	Search int
	// Patience is how long Open waits for a server before it goes on without. 3 s by default.
	Patience time.Duration

	Logger hclog.Logger // nil for none
}

const (
	defaultSearch   = 100
	maxSearch       = 1000 // pgvector's own limit
	defaultPatience = 3 * time.Second
	connectTimeout  = 5 * time.Second
	// poolSize is small: there may be hundreds of sidecars, and each connection is a process of the server's.
	poolSize = 6
)

// Validate says what is wrong with the configuration, in the operator's words and without a secret.
func (c *Config) Validate() error {
	if _, err := c.pool(); err != nil {
		return err
	}
	if c.Index != "" && c.Index != IndexNone && c.Index != IndexHNSW {
		return fmt.Errorf("postgres-index: expected none or hnsw, got %q", c.Index)
	}
	if c.Search < 0 || c.Search > maxSearch {
		return fmt.Errorf("postgres-ef-search: expected 1 to %d, or 0 for %d, got %d", maxSearch, defaultSearch, c.Search)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Index == "" {
		c.Index = IndexNone
	}
	if c.Search == 0 {
		c.Search = defaultSearch
	}
	if c.Patience == 0 {
		c.Patience = defaultPatience
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// errURL is all that is said of a URL that cannot be told apart: where its password ends, nobody knows.
var errURL = errors.New("store: expected postgres://user@host:port/database?sslmode=verify-full; in a password, % is written %25, " +
	"@ %40, : %3A and / %2F; or leave it out of the URL and set PGPASSWORD or PGPASSFILE")

// pool reads the URL.
func (c *Config) pool() (*pgxpool.Config, error) {
	if !slices.ContainsFunc(Schemes, func(scheme string) bool { return strings.HasPrefix(c.URL, scheme) }) {
		return nil, errURL
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errURL // and not the cause, which quotes the URL
	}
	p, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("store: postgres://%s: %w", Address(c.URL), withoutSecrets(u, err))
	}
	if !u.Query().Has("pool_max_conns") {
		p.MaxConns = poolSize
	}
	if p.ConnConfig.ConnectTimeout == 0 {
		p.ConnConfig.ConnectTimeout = connectTimeout
	}
	if p.ConnConfig.RuntimeParams["application_name"] == "" {
		p.ConnConfig.RuntimeParams["application_name"] = "engram-sidecar"
	}
	// Behind a pooler each transaction may run on another connection: nothing is prepared under a name.
	p.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	p.ConnConfig.StatementCacheCapacity, p.ConnConfig.DescriptionCacheCapacity = 0, 0
	return p, nil
}

// withoutSecrets returns what the driver says about a URL, without the URL, where no password can be in it.
func withoutSecrets(u *url.URL, err error) error {
	var bad *pgconn.ParseConfigError
	text := err.Error()
	if errors.As(err, &bad) {
		_, text, _ = strings.Cut(text, "`: ")
	}
	password, _ := u.User.Password()
	for _, secret := range []string{password, u.Query().Get("password"), u.Query().Get("sslpassword")} {
		if secret != "" && strings.Contains(text, secret) {
			return errURL
		}
	}
	return errors.New(text)
}

// Address is what may be shown of a URL: host, port and database, and nothing of a user, a password or an option.
func Address(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable)"
	}
	host := u.Host
	if u.Port() == "" && u.Hostname() != "" && !strings.Contains(host, ",") {
		host = net.JoinHostPort(u.Hostname(), strconv.Itoa(5432))
	}
	return host + u.Path
}
