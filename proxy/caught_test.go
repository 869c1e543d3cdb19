package proxy

import (
	"errors"
	"strings"
	"testing"
)

func TestAPanicIsDescribedWithoutItsWords(t *testing.T) {
	const secret = "what the client said"
	for _, value := range []any{secret, errors.New(secret), []byte(secret), struct{ text string }{secret}} {
		if got := describePanic(value); strings.Contains(got, secret) || got == "" {
			t.Errorf("%T: %q", value, got)
		}
	}
	defer func() {
		if got := describePanic(recover()); !strings.Contains(got, "index out of range [5]") {
			t.Errorf("the runtime's own words are lost: %q", got)
		}
		if got := describePanic("internal error: a sequence was accepted"); !strings.Contains(got, "a sequence was accepted") {
			t.Errorf("our own words are lost: %q", got)
		}
	}()
	none := make([]int, 0, len(secret))
	_ = none[len(secret)-15]
}
