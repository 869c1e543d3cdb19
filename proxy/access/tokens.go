package access

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync/atomic"
)

// Right is something a token may be good for.
type Right uint8

// The rights in a memory space.
const (
	Read  Right = 1 << iota // recall
	Write                   // observe, remember
)

// String names the rights as the file does.
func (r Right) String() string { return [...]string{"none", "r", "w", "rw"}[r&(Read|Write)] }

// everySpace stands for all memory spaces, those to come too.
const everySpace = "*"

// minToken is the least number of characters that a token may have.
const minToken = 16

// grant is one line of the file.
type grant struct {
	name   string
	spaces map[string]Right
	admin  bool
}

type digest [sha256.Size]byte

// Ring is the tokens of one file.
type Ring struct {
	path   string
	grants atomic.Pointer[map[digest]*grant]
}

// LoadRing reads the tokens of a file.
//
// A line is a name, a token and its rights, separated by spaces: a right is SPACE:r, SPACE:w or SPACE:rw, where * is every
// space; or admin, for the admin address; or all. A line of a single word is a token that may do everything. In the place of
// a token may stand sha256: and the digest of it in hex. Lines that begin with # are remarks.
func LoadRing(path string) (*Ring, error) {
	r := &Ring{path: path}
	return r, r.Reload()
}

// Reload reads the file again. Where that fails the tokens of before go on to hold.
func (r *Ring) Reload() error {
	text, err := ReadSecret(r.path)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	grants, err := parse(text)
	if err != nil {
		return fmt.Errorf("tokens: %s: %w", r.path, err)
	}
	r.grants.Store(&grants)
	return nil
}

// Len is how many tokens there are.
func (r *Ring) Len() int { return len(*r.grants.Load()) }

// Find looks a token up. It takes as long whichever token it is, and whether it is one.
func (r *Ring) Find(token string) (Holder, bool) {
	sum := digest(sha256.Sum256([]byte(token)))
	found := 0
	for known := range *r.grants.Load() {
		found |= subtle.ConstantTimeCompare(known[:], sum[:])
	}
	return Holder{r, sum}, found == 1
}

// Holder is somebody who has shown a token. The zero Holder may do nothing.
type Holder struct {
	ring *Ring
	sum  digest
}

func (h Holder) grant() *grant {
	if h.ring == nil {
		return nil
	}
	return (*h.ring.grants.Load())[h.sum]
}

// Valid says that the token is still one.
func (h Holder) Valid() bool { return h.grant() != nil }

// Name is what the file calls the token, "" where it is none any more.
func (h Holder) Name() string {
	if g := h.grant(); g != nil {
		return g.name
	}
	return ""
}

// May says whether the holder has all of the rights in a memory space.
func (h Holder) May(space string, rights Right) bool {
	g := h.grant()
	return g != nil && (g.spaces[space]|g.spaces[everySpace])&rights == rights
}

// Everywhere says that the holder may read and write in every memory space.
func (h Holder) Everywhere() bool { return h.May(everySpace, Read|Write) }

// Admin says that the holder may use the admin address.
func (h Holder) Admin() bool {
	g := h.grant()
	return g != nil && g.admin
}

func parse(text []byte) (map[digest]*grant, error) {
	grants := map[digest]*grant{}
	names := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxSecret+1)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		sum, g, err := parseLine(words)
		if err == nil && grants[sum] != nil {
			err = errors.New("the token is there twice")
		}
		if err == nil && names[g.name] {
			err = fmt.Errorf("the name %q is there twice", g.name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		grants[sum], names[g.name] = g, true
	}
	if len(grants) == 0 {
		return nil, errors.New("expected at least one token, got none: make one with `openssl rand -hex 32`")
	}
	return grants, lines.Err()
}

// parseLine never says what the token is.
func parseLine(words []string) (digest, *grant, error) {
	if len(words) == 1 {
		words = []string{"token", words[0], "all"}
	}
	g := &grant{name: words[0], spaces: map[string]Right{}}
	if len(words) < 3 {
		return digest{}, nil, errors.New("expected a name, a token and rights such as notes:rw, or one token alone")
	}
	if !nameRule.MatchString(g.name) {
		return digest{}, nil, errors.New("expected a name of at most 64 characters of a-z A-Z 0-9 . _ - as the first word")
	}
	sum, err := digestOf(words[1])
	if err != nil {
		return digest{}, nil, err
	}
	for _, word := range words[2:] {
		if err := g.add(word); err != nil {
			return digest{}, nil, err
		}
	}
	return sum, g, nil
}

var (
	nameRule  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	spaceRule = regexp.MustCompile(`^([a-z0-9_-]{3,64}|\*)$`)
)

func digestOf(token string) (digest, error) {
	if text, ok := strings.CutPrefix(token, "sha256:"); ok {
		sum, err := hex.DecodeString(text)
		if err != nil || len(sum) != sha256.Size {
			return digest{}, errors.New("expected sha256: with 64 hex digits")
		}
		return digest(sum), nil
	}
	if len(token) < minToken {
		return digest{}, fmt.Errorf("expected a token of at least %d characters, got %d: make one with `openssl rand -hex 32`", minToken, len(token))
	}
	return sha256.Sum256([]byte(token)), nil
}

func (g *grant) add(word string) error {
	switch word {
	case "admin":
		g.admin = true
		return nil
	case "all":
		g.admin = true
		maps.Copy(g.spaces, map[string]Right{everySpace: Read | Write})
		return nil
	}
	space, rights, _ := strings.Cut(word, ":")
	right := map[string]Right{"r": Read, "w": Write, "rw": Read | Write}[rights]
	if right == 0 || !spaceRule.MatchString(space) {
		return fmt.Errorf("expected admin, all, or SPACE:r, SPACE:w, SPACE:rw, got a right of %d characters", len(word))
	}
	g.spaces[space] |= right
	return nil
}

// ReadToken reads the one token that a client has in a file, in the same form.
func ReadToken(path string) (string, error) {
	text, err := ReadSecret(path)
	if err != nil {
		return "", err
	}
	if _, err := parse(text); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	token := ""
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if token != "" {
			return "", fmt.Errorf("%s: expected one token, got several: put the one to send into a file of its own", path)
		}
		token = words[min(1, len(words)-1)]
	}
	if strings.HasPrefix(token, "sha256:") {
		return "", fmt.Errorf("%s: expected the token itself, got its digest", path)
	}
	return token, nil
}
