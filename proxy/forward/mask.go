package forward

import (
	"errors"
	"regexp"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// quoted is how many bytes in a row a store's words must share with a record to count as a quotation of it.
const quoted = 6

// fraction is what a number of an embedding looks like in words.
var fraction = regexp.MustCompile(`[-+]?[0-9]*\.[0-9]{3,}(e[-+]?[0-9]+)?`)

// masked is what a store said, without what it quotes of the records: logs and status tell nothing of what was observed. The
// dead letter has its words whole.
func masked(said string, items []item) string {
	text := []byte(logged(fraction.ReplaceAllString(said, "…")))
	places := map[[quoted]byte][]int{}
	for i := 0; i+quoted <= len(text); i++ {
		places[[quoted]byte(text[i:])] = append(places[[quoted]byte(text[i:])], i)
	}
	if len(places) == 0 {
		return string(text)
	}
	hide := make([]bool, len(text))
	for i := range items {
		findQuotations(&items[i].rec, places, hide)
	}
	var out []byte
	for i, c := range text {
		switch {
		case !hide[i]:
			out = append(out, c)
		case i == 0 || !hide[i-1]:
			out = append(out, "…"...)
		}
	}
	return string(out)
}

// findQuotations marks what of a text stands in the record's payload or id.
func findQuotations(r *wal.Record, places map[[quoted]byte][]int, hide []bool) {
	for _, secret := range [][]byte{r.Payload, r.ID} {
		for i := 0; i+quoted <= len(secret); i++ {
			for _, at := range places[[quoted]byte(secret[i:])] {
				for j := at; j < at+quoted; j++ {
					hide[j] = true
				}
			}
		}
	}
}

// maskedError is an error whose words were masked.
func maskedError(err error, items []item) error {
	if err == nil {
		return nil
	}
	return errors.New(masked(err.Error(), items))
}
