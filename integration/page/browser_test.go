package page

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// tab is a page in a browser of its own.
type tab struct {
	t       *testing.T
	ctx     context.Context
	sidecar *harness.Sidecar

	mu      sync.Mutex
	console []string // errors and warnings, and what failed to load
	asked   []string // URLs
}

// picture is that of the README.
const picture = "dashboard"

// view is what a person looks at it with.
type view struct {
	width, height int64
	dark          bool
	phone         bool
}

var desk = view{width: 1280, height: 1000}

// open loads the sidecar's dashboard.
func open(t *testing.T, s *harness.Sidecar, v view) *tab {
	t.Helper()
	bin := harness.Tool(t, "chromium", "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(bin), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("force-color-profile", "srgb"))
	alloc, endAlloc := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...) // it ends with the cleanup, after the test
	p := &tab{t: t, sidecar: s}
	ctx, end := chromedp.NewContext(alloc, chromedp.WithLogf(t.Logf), chromedp.WithErrorf(t.Logf), chromedp.WithListener(p.hear))
	p.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			p.shot("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
			t.Logf("the page says:\n%s", p.text("body"))
		}
		_ = chromedp.Cancel(ctx) // waits for the browser; it may have gone
		end()
		endAlloc()
	})
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	var size []chromedp.EmulateViewportOption
	if v.phone {
		size = append(size, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.do(
		chromedp.EmulateViewport(v.width, v.height, size...),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}),
		command(network.Enable, network.EnableParams{}),
		chromedp.Navigate("http://"+s.Admin()+"/"),
	)
	return p
}

func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		p.console = append(p.console, fmt.Sprintf("%s: %v", e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		p.console = append(p.console, fmt.Sprintf("exception: %+v", e.ExceptionDetails))
	case *log.EventEntryAdded:
		p.console = append(p.console, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.URL)
	}
}

// command is one of the browser's protocol.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("the browser: %v", err)
	}
}

// press types keys into whatever has the focus.
func (p *tab) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// eval returns the value of an expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("the browser: %v: %s", err, expression)
	}
	return value
}

// text is what stands in an element, "" where it is hidden.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? "(there is none)"`, selector))
}

// await waits until an expression is true.
func (p *tab) await(what, expression string) {
	p.t.Helper()
	deadline := time.Now().Add(harness.Patience)
	for !eval[bool](p, "Boolean("+expression+")") {
		if time.Now().After(deadline) {
			p.t.Fatalf("waiting for %s: not within %v", what, harness.Patience)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// says waits until an element says something.
func (p *tab) says(selector, part string) {
	p.t.Helper()
	p.await(fmt.Sprintf("%s to say %q", selector, part), fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, part))
}

// quiet fails where the browser has complained, but for what is expected.
func (p *tab) quiet(expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
next:
	for _, line := range p.console {
		for _, e := range expected {
			if strings.Contains(line, e) {
				continue next
			}
		}
		p.t.Errorf("the browser's console: %s", line)
	}
	for _, url := range p.asked {
		if !strings.HasPrefix(url, "http://"+p.sidecar.Admin()+"/") {
			p.t.Errorf("the page asked for %s, which is not the sidecar's", url)
		}
	}
}

// shot keeps a picture of the whole page where SCREENSHOTS says so.
func (p *tab) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Errorf("the browser: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		p.t.Error(err)
	}
}

// label is how a screen reader calls what has the focus.
const label = `(document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText)`

// focused fails unless the focus is on something whose label begins so.
func (p *tab) focused(begins string) {
	p.t.Helper()
	p.await(fmt.Sprintf("the focus on %q", begins), fmt.Sprintf("%s.startsWith(%q)", label, begins))
}

func (p *tab) focusedOn(id string) {
	p.t.Helper()
	p.await("the focus on "+id, fmt.Sprintf("document.activeElement.id === %q", id))
}

// tabTo presses Tab until the focus is on something whose label begins so.
func (p *tab) tabTo(begins string) {
	p.t.Helper()
	for range 30 {
		if eval[bool](p, fmt.Sprintf("%s.startsWith(%q)", label, begins)) {
			return
		}
		p.press(kb.Tab)
	}
	p.t.Fatalf("30 times Tab did not lead to %q", begins)
}
