package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// lettersByHTTP asks a running sidecar.
type lettersByHTTP struct{ adminAddress }

// each implements letterSource.
func (l *lettersByHTTP) each(ctx context.Context, sel admin.Selection, visit func(*admin.DeadLetter) error) error {
	if len(sel.Indexes) > 0 {
		return l.eachOf(ctx, sel, visit)
	}
	for next := uint64(0); ; {
		q := url.Values{"after": {strconv.FormatUint(next, 10)}}
		for key, value := range map[string]string{"id": sel.ID, "space": sel.Space, "reason": sel.Reason} {
			if value != "" {
				q.Set(key, value)
			}
		}
		body, err := l.getWith(ctx, q, "api", "deadletters")
		if err != nil {
			return err
		}
		var page admin.LetterPage
		if err := l.read(body, &page); err != nil {
			return err
		}
		for i := range page.Letters {
			if err := visit(&page.Letters[i]); err != nil {
				return err
			}
		}
		if next = page.Next; next == 0 {
			return nil
		}
	}
}

// eachOf asks for letters by their indexes.
func (l *lettersByHTTP) eachOf(ctx context.Context, sel admin.Selection, visit func(*admin.DeadLetter) error) error {
	for _, i := range sel.Indexes {
		body, err := l.get(ctx, "api", "deadletters", strconv.FormatUint(i, 10))
		if err != nil {
			return err
		}
		var d admin.DeadLetter
		if err := l.read(body, &d); err != nil {
			return err
		}
		if err := visit(&d); err != nil {
			return err
		}
	}
	return nil
}

func (l *lettersByHTTP) read(body []byte, answer any) error {
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("what answers at %s is no sidecar: expected dead letters as JSON", l.where)
	}
	return nil
}

// settle implements letterSource. It waits for as long as the store takes.
func (l *lettersByHTTP) settle(ctx context.Context, how settling, sel admin.Selection) (out admin.LetterResults, err error) {
	text, err := json.Marshal(sel)
	if err != nil {
		return out, fmt.Errorf("ask the sidecar: %w", err)
	}
	body, err := l.post(ctx, text, "api", "deadletters", how.name)
	if err != nil {
		return out, err
	}
	return out, l.read(body, &out)
}
