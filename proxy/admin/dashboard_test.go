package admin

import (
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestThePageMayUseNothingButItself(t *testing.T) {
	f := start(t, sample)
	page := f.ask(t, "GET", "/")
	if page.code != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("the page: %d %v", page.code, page.header)
	}
	csp := page.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(csp, part) {
			t.Errorf("the policy %q lacks %s", csp, part)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("the policy %q allows something unsafe", csp)
	}
	for _, link := range regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		if got := f.ask(t, "GET", link[1]); got.code != 200 || !strings.HasPrefix(link[1], pathAssets) {
			t.Errorf("the page links %s: %d", link[1], got.code)
		}
	}
	for _, inline := range []string{"<script>", " style=", " onclick=", " onload="} {
		if strings.Contains(page.body, inline) {
			t.Errorf("the page has %s, which its policy forbids", inline)
		}
	}
}

func TestAssets(t *testing.T) {
	f := start(t, sample)
	kinds := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}
	files, err := fs.ReadDir(dashboardFiles, "dashboard")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if path.Ext(file.Name()) == ".html" {
			continue
		}
		got := f.ask(t, "GET", pathAssets+file.Name())
		if got.code != 200 || got.header.Get("Content-Type") != kinds[path.Ext(file.Name())] || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", file.Name(), got.code, got.header)
		}
		again := f.ask(t, "GET", pathAssets+file.Name(), func(r *http.Request) { r.Header.Set("If-None-Match", got.header.Get("ETag")) })
		if again.code != 304 || again.body != "" {
			t.Errorf("%s asked for again: %d with %d bytes", file.Name(), again.code, len(again.body))
		}
	}
	for _, missing := range []string{"nope.js", "index.html", "../server.go", ""} {
		if got := f.ask(t, "GET", pathAssets+missing); got.code == 200 {
			t.Errorf("%q was served", missing)
		}
	}
}

// TestThePageNeedsNoTokenAndTellsNothing: what it shows comes over the API, which does.
func TestThePageNeedsNoTokenAndTellsNothing(t *testing.T) {
	f := startWith(t, sample, func(s *Server) { s.RequireToken(func(string) bool { return false }) })
	page := f.ask(t, "GET", "/")
	if page.code != 200 || f.ask(t, "GET", pathAssets+"main.js").code != 200 {
		t.Errorf("the page: %d", page.code)
	}
	for _, told := range []string{"v1.2.3", "/data", "embedded"} {
		if strings.Contains(page.body, told) {
			t.Errorf("the page tells %s to everybody", told)
		}
	}
	for _, closed := range []string{pathEvents, "/api/status", "/metrics", "/nope"} {
		if got := f.ask(t, "GET", closed); got.code != 401 {
			t.Errorf("%s without a token: %d", closed, got.code)
		}
	}
}
