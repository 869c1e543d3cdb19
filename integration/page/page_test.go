package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// rig is a sidecar in front of a store that can be stopped, or made to refuse.
type rig struct {
	*testing.T
	store   *harness.Engram
	sidecar *harness.Sidecar
}

func newRig(t *testing.T, flags ...string) *rig {
	t.Helper()
	r := &rig{T: t, store: harness.NewEngram(t, nil)}
	r.sidecar = harness.NewSidecar(t, harness.Binary(t), append([]string{"--store", "engram://" + r.store.Address}, flags...)...)
	r.sidecar.Start()
	return r
}

// refuses has the store refuse everything for good, in these words.
func (r *rig) refuses(words string) {
	r.store.Set(harness.Faults{Refuse: func(*engramv1.Episode) error { return status.Error(codes.InvalidArgument, words) }})
}

// observe streams until it is ended, or the test is.
func (r *rig) observe(name string) (end func()) {
	client := &harness.Client{Name: name, Conn: r.sidecar.Connect(), Oracle: harness.NewOracle(), Window: 4}
	ctx, cancel := context.WithCancel(r.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = client.Run(ctx, nil) }) // ends with ctx; what it was told is not the matter here
	end = func() { cancel(); wait.Wait() }
	r.Cleanup(end)
	return end
}

// TestItShowsAStreamLive: the page loads without a complaint, asks nobody else, and its figures move by themselves.
func TestItShowsAStreamLive(t *testing.T) {
	r := newRig(t)
	p := open(t, r.sidecar, desk)
	p.says("#headline", "All is well")
	p.says("#f-clients", "Streams connected\n0")
	end := r.observe("live")
	p.says("#f-clients", "Streams connected\n1")
	p.await("a rate", `Number(document.querySelector("#now-rates b").innerText.replace(",", "")) > 0`)
	p.await("a latency", `/\d+(\.\d)? (µs|ms|s)/.test(document.querySelector("#now-latency b").innerText)`)
	first := p.text("#f-balance")
	p.await("the balance to move", `document.querySelector("#f-balance").innerText !== `+quoted(first))
	p.await("four drawn charts", `[...document.querySelectorAll(".chart canvas")].filter((c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)).length === 4`)
	end()
	r.sidecar.Drained()
	p.says("#t-pending-note", "everything is in the store")
	p.says("#f-even", "Even")
	p.shot("live")
	p.quiet()
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always can
	return string(b)
}

// TestItShowsAnOutage: first of the store, then of the sidecar itself, and that both are over.
func TestItShowsAnOutage(t *testing.T) {
	r := newRig(t)
	p := open(t, r.sidecar, desk)
	p.says("#headline", "All is well")
	r.store.Stop()
	end := r.observe("outage")
	p.await("the outage to be told", `/^The store (is|has been) down/.test(document.querySelector("#headline").innerText)`)
	p.says("#detail", "Nothing is lost")
	p.says("#f-store", "State\ndown")
	p.await("it to be announced", `/^The store (is|has been) down/.test(document.querySelector("#announce").textContent)`)
	p.await("what waits to be counted", `Number(document.querySelector("#t-pending").innerText.replace(",", "")) > 50`)
	p.says("#t-oldest", "s")
	p.shot("outage")
	end()
	r.store.Start()
	p.says("#headline", "All is well")

	r.sidecar.Kill()
	p.says("#headline", "The sidecar does not answer")
	p.says("#state", "no answer")
	if title := eval[string](p, "document.title"); !strings.HasPrefix(title, "● ") {
		t.Errorf("the tab's title %q does not call for attention", title)
	}
	p.shot("gone")
	r.sidecar.Start()
	p.says("#headline", "All is well")
	p.says("#f-recovery", "Damage\nnone")
	p.quiet("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
}

// TestADeadLetterIsReplayedByKeyboard: from the address bar, with Tab and Enter alone.
func TestADeadLetterIsReplayedByKeyboard(t *testing.T) {
	r := newRig(t)
	r.refuses("embedding of another model")
	r.write(3)
	p := open(t, r.sidecar, desk)
	p.says("#t-dead", "3")
	p.says("#headline", "3 dead letters")
	p.says("#letters-rows", "embedding of another model")
	p.await("three rows", `document.querySelectorAll(".letter").length === 3`)
	p.shot("letters")

	p.press(kb.Tab + kb.Enter) // the skip link
	p.press(kb.Tab)            // replay all
	p.tabTo("Replay dead letter")
	p.press(kb.Enter) // the store refuses it again
	p.says("#letters-said", "1 not: refused")

	r.store.Set(harness.Faults{})
	p.press(kb.Enter) // the focus has stayed
	p.says("#letters-said", "1 dead letter delivered.")
	p.says("#t-dead", "2")
	p.await("the row to go", `document.querySelectorAll(".letter").length === 2`)
	p.focused("Replay dead letter") // of the next row

	p.press(kb.Tab)
	p.focused("Drop dead letter")
	p.press(kb.Enter)
	p.await("the question", `document.querySelector("#confirm").open`)
	p.shot("confirm")
	p.press(kb.Escape)
	p.focused("Drop dead letter")
	p.press(kb.Enter)
	p.await("the question again", `document.querySelector("#confirm").open`)
	p.press(kb.Tab)
	p.press(kb.Enter)
	p.says("#letters-said", "1 dead letter dropped.")
	p.says("#f-balance", "Dropped\n1")
	p.await("the last row", `document.querySelectorAll(".letter").length === 1`)

	p.tabTo("Replay dead letter")
	p.press(kb.Enter)
	p.says("#headline", "All is well")
	p.says("#letters-note", "None.")
	if b, err := r.sidecar.Balance(); err != nil || b != (harness.Balance{Accepted: 3, Delivered: 2, Dropped: 1}) {
		t.Errorf("balance %+v, %v", b, err)
	}
	p.quiet()
}

// TestAQuestionThatIsAskedAgainAtOnce: what the browser tells late of the first one is no answer to the second.
func TestAQuestionThatIsAskedAgainAtOnce(t *testing.T) {
	r := newRig(t)
	r.refuses("embedding of another model")
	r.write(1)
	p := open(t, r.sidecar, desk)
	p.await("the letter", `document.querySelectorAll(".letter").length === 1`)
	asked := eval[bool](p, `(() => {
		const drop = document.querySelector(".letter .danger"), question = document.querySelector("#confirm");
		question.addEventListener("close", () => { window.told = true; });
		drop.click();
		question.close("no");
		drop.click();
		return question.open;
	})()`)
	if !asked {
		t.Fatal("the second question is not asked")
	}
	p.await("the browser to tell of the first", `window.told`)
	eval[bool](p, `(document.querySelector("#confirm-yes").click(), true)`)
	p.says("#letters-said", "1 dead letter dropped.")
	p.quiet()
}

// TestOnAPhoneInTheDark: nothing is wider than the screen, and the colours are the dark ones.
func TestOnAPhoneInTheDark(t *testing.T) {
	r := newRig(t, "--lane-capacity", "0,100000,0")
	r.refuses("no-space-in-this-reason-" + strings.Repeat("x", 200))
	r.write(2)
	for _, v := range []view{{width: 360, height: 740, phone: true, dark: true}, {width: 360, height: 740, phone: true}, {width: 320, height: 640, phone: true}, {width: 820, height: 1180}} {
		p := open(t, r.sidecar, v)
		p.says("#headline", "dead letters")
		p.await("the charts", `document.querySelectorAll(".chart canvas").length === 4`)
		p.await("the letters", `document.querySelectorAll(".letter").length === 2`)
		if wide := eval[int](p, "document.documentElement.scrollWidth"); int64(wide) > v.width {
			t.Errorf("%d pixels wide on a screen of %d", wide, v.width)
		}
		for _, pair := range []string{"body", ".verdict", ".tile h3", ".note", "#t-dead", "dd[data-level=warn]"} {
			if c := eval[float64](p, contrast(pair)); c < 4.5 {
				t.Errorf("%s: contrast %.2f (%+v), want 4.5", pair, c, v)
			}
		}
		dark := eval[bool](p, `getComputedStyle(document.body).backgroundColor === "rgb(15, 20, 18)"`)
		if dark != v.dark {
			t.Errorf("dark is %v, want %v", dark, v.dark)
		}
		p.shot(fmt.Sprintf("width-%d-dark-%v", v.width, v.dark))
		p.quiet()
	}
}

// contrast is the ratio of an element's text to what is behind it, as WCAG counts.
func contrast(selector string) string {
	return `(() => {
		const rgb = (c) => c.match(/[\d.]+/g).map(Number);
		const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
			.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
		const e = document.querySelector(` + quoted(selector) + `);
		let under = e;
		while (rgb(getComputedStyle(under).backgroundColor)[3] === 0) under = under.parentElement;
		const [a, b] = [light(rgb(getComputedStyle(e).color)), light(rgb(getComputedStyle(under).backgroundColor))].sort((x, y) => y - x);
		return (a + 0.05) / (b + 0.05);
	})()`
}

// TestItAsksForTheToken: a wrong one is refused, the right one opens the page, and a reload needs no other.
func TestItAsksForTheToken(t *testing.T) {
	const token = "correct-horse-battery-staple"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "--admin-token-file", file)
	p := open(t, r.sidecar, desk)
	p.says("#token-form", "Token")
	p.focusedOn("token")
	if said := p.text("body"); strings.Contains(said, r.sidecar.Dir) || strings.Contains(said, "All is well") {
		t.Errorf("without a token the page says %s", said)
	}
	p.shot("token")
	p.press("not-the-token-at-all" + kb.Enter)
	p.says("#token-error", "does not know this token")
	p.press(token + kb.Enter)
	p.says("#headline", "All is well")
	p.do(chromedp.Reload())
	p.says("#headline", "All is well")
	if kept := eval[string](p, "JSON.stringify(localStorage) + document.cookie + location.href"); strings.Contains(kept, token) {
		t.Errorf("the token is kept beyond the tab: %s", kept)
	}
	p.quiet("status of 401")
}

// TestPictureOfTheReadme makes what docs/images shows: a stream, and a store that was away for a while.
func TestPictureOfTheReadme(t *testing.T) {
	if os.Getenv("SCREENSHOTS") == "" {
		t.Skip("makes a picture, nothing else: SCREENSHOTS=docs/images names where")
	}
	r := newRig(t)
	r.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if e.GetWhat() == "first/70" {
			return status.Error(codes.InvalidArgument, "embedding of another model")
		}
		return nil
	}})
	p := open(t, r.sidecar, view{width: 1200, height: 900})
	for _, part := range []struct {
		app  string
		away bool
	}{{"first", false}, {"second", true}, {"third", false}} {
		if part.away {
			r.store.Stop()
		}
		end := r.observe(part.app)
		from := r.uptime()
		r.sidecar.Await("so much of the charts", func() (bool, error) { return r.uptime() > from+12, nil })
		if part.away {
			r.store.Start()
		}
		if part.app != "third" {
			end()
		}
	}
	p.shot(picture)
}

// uptime is how many seconds the sidecar has run.
func (r *rig) uptime() float64 {
	r.Helper()
	status, err := r.sidecar.Status()
	if err != nil {
		r.Fatal(err)
	}
	return status.Uptime
}

// write makes so many observations and waits until nothing is pending.
func (r *rig) write(count uint64) {
	r.Helper()
	rpc := engramv1.NewEngramServiceClient(r.sidecar.Connect())
	for n := uint64(1); n <= count; n++ {
		e := harness.EpisodeOf(harness.Observation{Session: "written", Sequence: n})
		if _, err := rpc.Remember(r.Context(), &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: e}}); err != nil {
			r.Fatal(err)
		}
	}
	r.sidecar.Drained()
}
