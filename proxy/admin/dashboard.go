package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// The dashboard's files. uPlot's two are as they come in its npm package; see NOTICE.
//
//go:embed dashboard
var dashboardFiles embed.FS

// policy lets the page use what it came with and ask the sidecar it came from, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// chart is a place on the page where dashboard/charts.js draws.
type chart struct{ ID, Title, Help string }

var charts = []chart{
	{"rates", "Records a second", "accepted, and delivered to the store"},
	{"latency", "Ack latency", "from arrival to the ack, over the last 10 seconds"},
	{"waiting", "Waiting for the store", "records by lane"},
	{"journal", "Journal", "bytes used of the quota"},
}

// dashboard is the page and its assets, each rendered or read once.
type dashboard struct {
	page   []byte
	assets map[string]asset
}

type asset struct {
	text []byte
	kind string
	tag  string
}

// newDashboard reads what was compiled in. It cannot fail but by a fault of the build.
func newDashboard() *dashboard {
	t := template.Must(template.ParseFS(dashboardFiles, "dashboard/index.html"))
	var page bytes.Buffer
	if err := t.Execute(&page, charts); err != nil {
		panic("admin: internal error: the dashboard's page: " + err.Error())
	}
	d := &dashboard{page: page.Bytes(), assets: map[string]asset{}}
	err := fs.WalkDir(dashboardFiles, "dashboard", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) == ".html" {
			return err
		}
		text, err := dashboardFiles.ReadFile(name)
		sum := sha256.Sum256(text)
		kind := mime.TypeByExtension(path.Ext(name))
		if path.Ext(name) == ".js" { // some machines' tables say otherwise
			kind = "text/javascript; charset=utf-8"
		}
		d.assets[strings.TrimPrefix(name, "dashboard/")] = asset{text, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	if err != nil {
		panic("admin: internal error: the dashboard's files: " + err.Error())
	}
	return d
}

// The paths of the dashboard. The page and its assets are the same for everybody and tell nothing, so that they need no
// token; what they show comes over pathEvents, which does.
const (
	pathPage   = "/"
	pathAssets = "/assets/"
	pathEvents = "/api/events"
)

func (s *Server) routeDashboard(mux *http.ServeMux) {
	d := newDashboard()
	read(mux, pathPage+"{$}", d.serve)
	read(mux, pathAssets+"{name...}", d.serveAsset)
	read(mux, pathEvents, s.events)
}

func (d *dashboard) serve(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	setNoStore(w)
	_, _ = w.Write(d.page) // the browser has gone: there is nobody to tell
}

func (d *dashboard) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := d.assets[r.PathValue("name")]
	if !ok {
		refuse(w, http.StatusNotFound, fmt.Sprintf("the dashboard has no file %s", quote(r.PathValue("name"))))
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-cache") // asked each time, sent when it has changed
	h.Set("ETag", a.tag)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.text) // the browser has gone: there is nobody to tell
}
