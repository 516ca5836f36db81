package optimize

import "strings"

// passed are the variables of the Action that the CLI may see, beside LC_*. Inputs, credentials of the job and everything
// else stay behind: the CLI reads a site that the job may not trust.
var passed = map[string]bool{
	"PATH": true, "LANG": true, "TZ": true, "CI": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true,
	"HTTP_PROXY": true, "HTTPS_PROXY": true, "NO_PROXY": true, "ALL_PROXY": true,
	"http_proxy": true, "https_proxy": true, "no_proxy": true, "all_proxy": true,
}

// environ is the whole environment of the CLI.
func (p *Plan) environ(home, token string) []string {
	env := []string{
		"HOME=" + home,
		"TMPDIR=" + home,
		"PAGEFLARE_NO_AUTO_INSTALL=1",
	}
	for _, pair := range p.cfg.Environ {
		name, _, _ := strings.Cut(pair, "=")
		if passed[name] || strings.HasPrefix(name, "LC_") {
			env = append(env, pair)
		}
	}
	add := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	add("PAGEFLARE_TOKEN", token)
	add("PAGEFLARE_LICENSE", string(p.cfg.License))
	add("PAGEFLARE_API_URL", strings.TrimRight(p.cfg.APIURL, "/"))
	if !p.cfg.Telemetry {
		add("PAGEFLARE_TELEMETRY", "0")
	}
	return env
}
