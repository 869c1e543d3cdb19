package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard refuses what a web page could send: a Host that is a name of somebody's DNS (rebinding), or the marks a browser
// sets on a page's requests. Metrics collectors and probes that reach a wide listener by its IP address pass.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hostAllowed(r) {
			refuse(w, http.StatusForbidden, "host "+quote(r.Host)+" is not this sidecar's: use the address it listens on, such as 127.0.0.1 with its port")
			return
		}
		if r.Header.Get("Origin") != "" {
			refuse(w, http.StatusForbidden, "requests from web pages are refused: an Origin header was sent")
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" {
			refuse(w, http.StatusForbidden, "requests from web pages are refused: Sec-Fetch-Site is "+quote(site))
			return
		}
		next.ServeHTTP(w, r)
	})
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
