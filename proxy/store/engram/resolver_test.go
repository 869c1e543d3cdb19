package engram

import "google.golang.org/grpc/resolver"

// passthrough takes the place of DNS, so that a test's address needs no name server.
type passthrough struct{}

func (passthrough) Scheme() string { return "dns" }

func (passthrough) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return passthrough{}, cc.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: target.Endpoint()}}})
}

func (passthrough) ResolveNow(resolver.ResolveNowOptions) {}

func (passthrough) Close() {}
