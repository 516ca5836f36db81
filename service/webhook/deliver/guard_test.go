package deliver_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/webhook/deliver"
)

// ownAddress is an address that looks public and is this machine's.
func ownAddress() ([]net.Addr, error) {
	return []net.Addr{&net.IPNet{IP: net.IPv4(1, 2, 3, 4), Mask: net.CIDRMask(24, 32)}}, nil
}

func TestWhereWebhooksMayGo(t *testing.T) {
	t.Parallel()
	served := &names{of: map[string][][]string{
		"public.example.": {{"93.184.216.34", "2606:2800:220:1::1"}}, "private.example.": {{"10.1.2.3"}}, "mixed.example.": {{"93.184.216.34", "127.0.0.1"}},
		"lan.example.": {{"10.20.1.1"}}, "half.example.": {{"10.20.1.1", "10.30.1.1"}}, "six.example.": {{"fd00::1"}}, "mapped.example.": {{"::ffff:10.1.2.3"}},
	}}
	guard := deliver.NewGuard([]netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, served.resolver(t), ownAddress)
	for url, want := range map[string]string{ // "" is allowed
		"https://public.example/hook?x=1":                     "",
		"https://public.example:8443/hook":                    "",
		"https://public.example:443/":                         "",
		"https://93.184.216.34/":                              "",
		"https://[2606:2800:220:1::1]/":                       "",
		"https://lan.example/":                                "",
		"http://lan.example:8080/":                            "",
		"http://10.20.255.255/":                               "",
		"http://public.example/":                              "url: public.example: 93.184.216.34 is sent to by https only: to allow it, name its network in LICENSE_WEBHOOK_ALLOW",
		"https://public.example:22/":                          "port 22 is not 443 or 8443",
		"https://private.example/":                            "url: private.example: 10.1.2.3 is not a public address: to allow it, name its network in LICENSE_WEBHOOK_ALLOW",
		"https://mixed.example/":                              "127.0.0.1 is not a public address",
		"https://half.example/":                               "10.30.1.1 is not a public address",
		"https://six.example/":                                "fd00::1 is not a public address",
		"https://mapped.example/":                             "10.1.2.3 is not a public address",
		"https://none.example/":                               "url: none.example cannot be resolved here (there is no such name): check its spelling",
		"https://1.2.3.4/":                                    "1.2.3.4 is an address of this machine",
		"https://1.2.3.5/":                                    "",
		"https://[::ffff:1.2.3.4]/":                           "IPv6 address such as",
		"https://2130706433/":                                 "ends in a number",
		"https://0x7f.1/":                                     "ends in a number",
		"https://127.1/":                                      "ends in a number",
		"https://public.example:0/":                           "has no port from 1 to 65535",
		"https://public.example:99999/":                       "has no port from 1 to 65535",
		"ftp://public.example/":                               "is not an address such as https://example.com/webhooks",
		"public.example/hook":                                 "is not an address",
		"https:///hook":                                       "is not an address",
		"https:public.example":                                "is not an address",
		"":                                                    "is not an address",
		"https://user:secret@public.example/":                 "leave out user and password",
		"https://public.example/#part":                        "leave out what begins with #",
		"https://public.example/#":                            "leave out what begins with #",
		"https://public.example/\x00":                         "is not an address",
		"https://public.example/" + strings.Repeat("a", 2048): "longer than 2048",
	} {
		err := guard.Check(t.Context(), url)
		switch {
		case want == "" && err != nil:
			t.Errorf("Check(%s) = %v, want it allowed", url, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("Check(%s) = %v, want %q", url, err, want)
		case want != "" && (!errors.Is(err, deliver.ErrNotAllowed) || !errors.Is(err, failure.ErrInvalid)):
			t.Errorf("Check(%s) = %v, want it to be ErrNotAllowed", url, err)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("Check(%s) tells the password: %v", url, err)
		}
	}
}

// Every address that is not of the public internet, in each of its spellings.
func TestAddressesThatAreNotPublic(t *testing.T) {
	t.Parallel()
	guard := deliver.NewGuard(nil, nil, ownAddress)
	for _, addr := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.169.254", "169.254.170.2",
		"172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
		"255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16", "64:ff9b::a9fe:a9fe", "64:ff9b::1.1.1.1", "64:ff9b:1::1",
		"100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "3fff::1", "1.2.3.4", "::ffff:1.2.3.4",
	} {
		if err := deliver.Permit(guard, netip.AddrPortFrom(netip.MustParseAddr(addr), 443), false); !errors.Is(err, deliver.ErrNotAllowed) {
			t.Errorf("%s is allowed (%v)", addr, err)
		}
	}
	for _, addr := range []string{"1.1.1.1", "8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1", "192.0.1.1", "168.63.129.17"} {
		if err := deliver.Permit(guard, netip.AddrPortFrom(netip.MustParseAddr(addr), 443), false); err != nil {
			t.Errorf("%s is refused: %v", addr, err)
		}
	}
}

func TestNAT64IsAllowedByTheSetting(t *testing.T) {
	t.Parallel()
	guard := deliver.NewGuard([]netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}, nil, ownAddress)
	for addr, want := range map[string]bool{
		"64:ff9b::8.8.8.8": true, "64:ff9b::10.1.2.3": false, "64:ff9b::169.254.169.254": false, "64:ff9b::127.0.0.1": false, "64:ff9b::1.2.3.4": false,
	} {
		err := deliver.Permit(guard, netip.AddrPortFrom(netip.MustParseAddr(addr), 443), false)
		if (err == nil) != want {
			t.Errorf("%s: %v, want allowed: %t", addr, err, want)
		}
	}
	if err := deliver.Permit(guard, netip.MustParseAddrPort("[64:ff9b::808:808]:80"), true); err == nil {
		t.Error("http by NAT64 is allowed")
	}
}
