package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard refuses what a stranger's web page could send: a Host that is a name of somebody's DNS (rebinding), and the marks a
// browser sets on a page's requests, unless the page is the sidecar's own. Metrics collectors and probes that reach a wide
// listener by its IP address pass.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hostAllowed(r) {
			refuse(w, http.StatusForbidden, "host "+quote(r.Host)+" is not this sidecar's: use the address it listens on, such as 127.0.0.1 with its port")
			return
		}
		if origin := r.Header.Values("Origin"); len(origin) > 0 && !ownOrigin(r, origin) {
			refuse(w, http.StatusForbidden, "requests from other web pages are refused: Origin is "+quote(strings.Join(origin, ", ")))
			return
		}
		for _, site := range r.Header.Values("Sec-Fetch-Site") {
			if site != "none" && site != "same-origin" {
				refuse(w, http.StatusForbidden, "requests from other web pages are refused: Sec-Fetch-Site is "+quote(site))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// ownOrigin says that a request comes from a page which this sidecar served: the origin is the very host that was asked, and
// that is known to be ours.
func ownOrigin(r *http.Request, origin []string) bool {
	if len(origin) != 1 {
		return false
	}
	u, err := url.Parse(origin[0])
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return err == nil && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}

// actionHeader is what every request that changes something bears. A web page elsewhere cannot set it without asking first,
// and is not answered when it asks.
const actionHeader = "X-Engram-Sidecar"

// maxAction bounds the body of a request that changes something.
const maxAction = 1 << 20

// read registers a page that changes nothing.
func read(mux *http.ServeMux, path string, page http.HandlerFunc) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if allow(w, r, http.MethodGet, http.MethodHead) {
			page(w, r)
		}
	})
}

// act registers a page that changes something: POST alone, with the header, and with a body that is no larger than it must be.
func act(mux *http.ServeMux, path string, page http.HandlerFunc) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if !allow(w, r, http.MethodPost) {
			return
		}
		if r.Header.Get(actionHeader) != "1" {
			refuse(w, http.StatusForbidden, "a request that changes something needs the header "+actionHeader+": 1")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxAction)
		page(w, r)
	})
}

// allow answers a method that a page does not serve.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse(w, http.StatusMethodNotAllowed, "method "+quote(r.Method)+" is not served here: use "+methods[0])
	return false
}

// Check says whether a token is one that opens the admin address.
type Check func(token string) bool

// RequireToken makes every page but /livez, /readyz and the empty dashboard, which tell nothing, ask for a token. It comes before Serve. The token
// is a bearer token, or the password of HTTP's basic authentication, which is how a browser sends it.
func (s *Server) RequireToken(valid Check) { s.valid = valid }

// authenticate is the one place where the token is asked for.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := r.URL.Path == pathLive || r.URL.Path == pathReady || r.URL.Path == pathPage || strings.HasPrefix(r.URL.Path, pathAssets)
		if s.valid == nil || open || s.valid(tokenOf(r)) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="engram-sidecar: the token is the password"`)
		refuse(w, http.StatusUnauthorized, "this page needs a token: send Authorization: Bearer TOKEN, or give the command --token-file")
	})
}

func tokenOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// hostAllowed says that the request's Host names the local end of its connection: the same port, and a loopback name, a
// loopback address or the very address the connection came in by. An address can't be rebound; a name can.
func hostAllowed(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return false
	}
	host, port := r.Host, "80" // what a Host without a port means over plain HTTP
	if r.TLS != nil {
		port = "443"
	}
	if h, p, err := net.SplitHostPort(r.Host); err == nil {
		host, port = h, p
	}
	if port != portOf(at) {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	return ip.Unmap().IsLoopback() || ip.Unmap() == at.Addr().Unmap()
}

func portOf(at netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(at.String())
	return port
}
