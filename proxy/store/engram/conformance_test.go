package engram

import (
	"strings"
	"testing"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Target {
		f := newFake(t)
		f.answers["Recall"] = &engramv1.RecallResponse{}
		return storetest.Target{Store: f.open(t, long), Contents: f.contents}
	})
}

// contents returns what the server holds of a space.
func (f *fake) contents(_ *testing.T, space string) (items []storetest.Item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, item := range f.held {
		if strings.HasPrefix(key, space+"/") {
			items = append(items, item)
		}
	}
	return items
}
