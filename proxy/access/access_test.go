package access

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	agentToken  = "agent-token-0123456789"
	opsToken    = "ops-token-0123456789ab"
	readerToken = "reader-token-012345678"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) *Ring {
	t.Helper()
	r, err := LoadRing(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestRightsOfTokens(t *testing.T) {
	r := load(t, "# who\nagent "+agentToken+" notes:rw logs:w\n\nops "+hashed(opsToken)+" admin\nreader "+readerToken+" *:r\n")
	cases := []struct {
		token, space string
		right        Right
		want         bool
	}{
		{agentToken, "notes", Read, true},
		{agentToken, "notes", Read | Write, true},
		{agentToken, "logs", Write, true},
		{agentToken, "logs", Read, false},
		{agentToken, "logs", Read | Write, false},
		{agentToken, "other", Read, false},
		{agentToken, "*", Read, false},
		{opsToken, "notes", Read, false},
		{readerToken, "notes", Read, true},
		{readerToken, "anything", Read, true},
		{readerToken, "notes", Write, false},
	}
	for _, c := range cases {
		h, ok := r.Find(c.token)
		if !ok {
			t.Fatalf("%s was not found", c.token)
		}
		if got := h.May(c.space, c.right); got != c.want {
			t.Errorf("%s in %s, %v: %v, want %v", h.Name(), c.space, c.right, got, c.want)
		}
	}
	for token, want := range map[string]bool{agentToken: false, opsToken: true, readerToken: false} {
		if h, _ := r.Find(token); h.Admin() != want || h.Everywhere() {
			t.Errorf("%s: admin %v, everywhere %v", token, h.Admin(), h.Everywhere())
		}
	}
}

func TestWhatIsNoTokenMayNothing(t *testing.T) {
	r := load(t, opsToken+"\n")
	for _, token := range []string{"", opsToken[1:], opsToken + "x", strings.ToUpper(opsToken), hashed(opsToken)} {
		h, ok := r.Find(token)
		if ok || h.Valid() || h.Admin() || h.May("notes", Read) || h.Everywhere() {
			t.Errorf("%q opens", token)
		}
	}
	if (Holder{}).Valid() || (Holder{}).May("notes", 0) {
		t.Error("nobody may do something")
	}
	h, ok := r.Find(opsToken)
	if !ok || !h.Admin() || !h.Everywhere() || !h.May("notes", Read|Write) {
		t.Error("a token alone may not do everything")
	}
}

func TestReloadReachesHolders(t *testing.T) {
	path := write(t, "a "+agentToken+" notes:rw\n")
	r, err := LoadRing(path)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := r.Find(agentToken)
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err == nil || !h.May("notes", Write) {
		t.Errorf("a bad file was taken: %v", err)
	}
	if err := os.WriteFile(path, []byte("a "+agentToken+" notes:r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err != nil || h.May("notes", Write) || !h.May("notes", Read) {
		t.Errorf("fewer rights did not reach the holder: %v", err)
	}
	if err := os.WriteFile(path, []byte(opsToken), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err != nil || h.Valid() || h.May("notes", Read) {
		t.Errorf("a token that was taken away still opens: %v", err)
	}
}

func TestBadTokenFiles(t *testing.T) {
	cases := map[string]string{
		"":                             "expected at least one token",
		"# nothing\n":                  "expected at least one token",
		"short":                        "at least 16 characters, got 5",
		"agent " + agentToken:          "expected a name, a token and rights",
		"a " + agentToken + " notes":   "expected admin, all, or SPACE:r",
		"a " + agentToken + " notes:x": "expected admin, all, or SPACE:r",
		"a " + agentToken + " No:r":    "expected admin, all, or SPACE:r",
		"a/b " + agentToken + " all":   "expected a name",
		"a sha256:12 all":              "sha256: with 64 hex digits",
		opsToken + "\n" + agentToken:   "line 2: the name \"token\" is there twice",
		"a " + opsToken + " all\nb " + opsToken + " admin": "line 2: the token is there twice",
	}
	for text, says := range cases {
		_, err := LoadRing(write(t, text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
			continue
		}
		for _, secret := range []string{agentToken, opsToken, "short"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the message tells the token: %v", err)
			}
		}
	}
}

func TestExposedFilesAreRefused(t *testing.T) {
	for mode, want := range map[os.FileMode]error{
		0o600: nil, 0o400: nil, 0o640: ErrExposed, 0o604: ErrExposed, 0o620: ErrExposed, 0o644: ErrExposed, 0o666: ErrExposed,
	} {
		path := write(t, opsToken)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadRing(path); !errors.Is(err, want) {
			t.Errorf("mode %#o: %v, want %v", mode, err, want)
		}
	}
	if _, err := ReadSecret(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	if os.Geteuid() == 0 {
		path := write(t, opsToken)
		if err := os.Chown(path, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadRing(path); !errors.Is(err, ErrExposed) {
			t.Errorf("somebody else's file: %v", err)
		}
	}
}

func TestReadToken(t *testing.T) {
	for text, want := range map[string]string{
		opsToken + "\n":                          opsToken,
		"# mine\nagent " + agentToken + " all\n": agentToken,
	} {
		if got, err := ReadToken(write(t, text)); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"a " + opsToken + " all\nb " + agentToken + " all": "expected one token, got several",
		"a " + hashed(opsToken) + " all":                   "got its digest",
		"short":                                            "at least 16",
	} {
		if _, err := ReadToken(write(t, text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

func TestOnlyUsersOfTheList(t *testing.T) {
	for name, c := range map[string]struct {
		users []int
		taken bool
	}{"the own user": {[]int{os.Getuid()}, true}, "another": {[]int{os.Getuid() + 1}, false}, "nobody": {nil, false}} {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			refused := make(chan int, 1)
			l := OnlyUsers(inner, c.users, func(user int) { refused <- user })
			accepted := make(chan net.Conn, 1)
			go func() { // ends with the listener
				defer close(accepted)
				if conn, err := l.Accept(); err == nil {
					accepted <- conn
				}
			}()
			conn, err := net.Dial("unix", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			select {
			case other := <-accepted:
				defer other.Close()
				if want := UserAddr(os.Getuid()); !c.taken || other.RemoteAddr() != want {
					t.Errorf("taken, from %v; want %v", other.RemoteAddr(), want)
				}
			case user := <-refused:
				if c.taken || user != os.Getuid() {
					t.Errorf("user %d was refused", user)
				}
			case <-time.After(time.Minute):
				t.Fatal("neither taken nor refused")
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			for range accepted { // until it has ended
			}
		})
	}
}
