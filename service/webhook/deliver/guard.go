package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/origin"
)

// Where webhooks may go. Whoever may make an endpoint must not reach through us what they cannot
// reach themselves: this machine, its network, the metadata of a cloud.
//
//   - Public addresses, by https, on ports 443 and 8443.
//   - Networks that LICENSE_WEBHOOK_ALLOW names: there by http too, and on any port.
//   - Nothing else. What is checked is the address that is dialled, after its name was resolved, so
//     that a name that changes its mind (DNS rebinding) gains nothing. No proxy is asked, for it
//     would dial for us, and no redirect is followed.
//   - 64:ff9b::/96 stands for IPv4 addresses (NAT64), and is allowed where the setting names it: then
//     the IPv4 address in it is checked.

// AllowSetting is the setting that names further networks.
const AllowSetting = "LICENSE_WEBHOOK_ALLOW"

var (
	ports = []uint16{443, 8443}
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// metadata are addresses of clouds that look public
	metadata = []netip.Addr{netip.MustParseAddr("168.63.129.16")}
)

// The time limits of a connection.
const (
	lookupTime = 5 * time.Second
	dialTime   = 10 * time.Second
)

// MaxURL is the longest address of an endpoint.
const MaxURL = 2048

// ErrNotAllowed says that webhooks are not sent to an address. It is a failure.ErrInvalid.
var ErrNotAllowed = failure.Invalid("webhooks are not sent there")

// notAllowed is an ErrNotAllowed that says why.
type notAllowed string

func (e notAllowed) Error() string { return string(e) }

func (notAllowed) Is(target error) bool {
	return target == error(ErrNotAllowed) || target == failure.ErrInvalid
}

// Guard decides where webhooks may go.
type Guard struct {
	allow    []netip.Prefix
	public   *ssrf.Guardian
	resolver *net.Resolver
	own      func() ([]net.Addr, error)
}

// NewGuard returns a guard. allow are the networks beside public addresses; resolver is nil for that
// of the system; own are the addresses of this machine, nil for what its interfaces have.
func NewGuard(allow []netip.Prefix, resolver *net.Resolver, own func() ([]net.Addr, error)) *Guard {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if own == nil {
		own = net.InterfaceAddrs
	}
	return &Guard{allow: allow, resolver: resolver, own: own, public: ssrf.New(ssrf.WithAnyPort())}
}

// Check says whether an endpoint may have an address, as far as can be told now: its name is
// resolved, and all that it resolves to must be allowed. ErrNotAllowed says what is wrong and what
// to do about it. It takes five seconds at most.
func (g *Guard) Check(ctx context.Context, address string) error {
	u, port, err := parseURL(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return notAllowed(fmt.Sprintf("url: %s cannot be resolved here (%s): check its spelling, and the name servers of this machine", u.Hostname(), lookupFault(err)))
	}
	for _, addr := range addrs {
		if err := g.permit(netip.AddrPortFrom(addr, port), u.Scheme == "http"); err != nil {
			return notAllowed("url: " + u.Hostname() + ": " + err.Error())
		}
	}
	return nil
}

// Leads is Check as a field; nil for no guard.
func (g *Guard) Leads() func(context.Context, string) error {
	if g == nil {
		return nil
	}
	return g.Check
}

func lookupFault(err error) string {
	var fault *net.DNSError
	switch {
	case errors.As(err, &fault) && fault.IsNotFound:
		return "there is no such name"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &fault) && fault.IsTimeout:
		return "no answer in " + lookupTime.String()
	}
	return "the look-up failed"
}

// parseURL reads the address of an endpoint. The error does not quote it: its path and its query may
// be a secret.
func parseURL(address string) (u *url.URL, port uint16, err error) {
	if len(address) > MaxURL {
		return nil, 0, notAllowed(fmt.Sprintf("url: it is longer than %d characters", MaxURL))
	}
	u, err = url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, 0, notAllowed("url: it is not an address such as https://example.com/webhooks")
	case u.User != nil:
		return nil, 0, notAllowed("url: leave out user and password: deliveries are signed, and lists would show them")
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return nil, 0, notAllowed("url: leave out what begins with #: it is never sent")
	}
	if _, err := origin.Of(u); err != nil {
		return nil, 0, notAllowed("url: it " + err.Error())
	}
	port = 443
	if u.Scheme == "http" {
		port = 80
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, 0, notAllowed("url: it has no port from 1 to 65535")
		}
		port = uint16(n)
	}
	return u, port, nil
}

// permit says whether what is dialled is allowed; plain: by http.
func (g *Guard) permit(to netip.AddrPort, plain bool) error {
	addr := to.Addr().Unmap().WithZone("")
	if nat64.Contains(addr) {
		if !g.allows(addr) {
			return notAllowed(fmt.Sprintf("%s is a NAT64 address: to allow those, name %s in %s", addr, nat64, AllowSetting))
		}
		bytes := addr.As16()
		addr = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if g.allows(addr) {
		return nil
	}
	remedy := ": to allow it, name its network in " + AllowSetting
	switch {
	case slices.Contains(metadata, addr) || g.public.SafeAddr(addr) != nil:
		return notAllowed(fmt.Sprintf("%s is not a public address%s", addr, remedy))
	case g.isOwn(addr):
		return notAllowed(fmt.Sprintf("%s is an address of this machine%s", addr, remedy))
	case plain:
		return notAllowed(fmt.Sprintf("%s is sent to by https only%s", addr, remedy))
	case !slices.Contains(ports, to.Port()):
		return notAllowed(fmt.Sprintf("port %d is not 443 or 8443: use one of them; or, to allow any port of %s, name its network in %s", to.Port(), addr, AllowSetting))
	}
	return nil
}

func (g *Guard) allows(addr netip.Addr) bool {
	return slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// isOwn says whether an interface of this machine has an address. Where nobody can tell, it has.
func (g *Guard) isOwn(addr netip.Addr) bool {
	list, err := g.own()
	return err != nil || slices.ContainsFunc(list, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		if !ok {
			return false
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		return ok && ip.Unmap() == addr
	})
}

// idleTime is how long a connection that nobody uses stays open: shorter than what usual receivers
// wait, so that we seldom write to one that its receiver closes.
const idleTime = 4 * time.Second

// transport returns what sends to allowed addresses: by https, or plainly.
func (g *Guard) transport(plain bool, roots *tls.Config) *http.Transport {
	d := &net.Dialer{
		Timeout: dialTime, KeepAlive: 15 * time.Second, Resolver: g.resolver,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || network != "tcp4" && network != "tcp6" {
				return notAllowed("not an address of TCP")
			}
			return g.permit(to, plain)
		},
	}
	return &http.Transport{
		Proxy: nil, DialContext: d.DialContext, TLSClientConfig: roots, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: dialTime, MaxIdleConns: 512, MaxIdleConnsPerHost: PerEndpoint, IdleConnTimeout: idleTime,
		MaxResponseHeaderBytes: 64 << 10, WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
	}
}
