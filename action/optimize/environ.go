package optimize

import "strings"

// passed are the variables of the Action that the CLI may see. Inputs, credentials of the job and
// everything else stay behind: the CLI reads a site that the job may not trust. It opens no
// connection, so it needs no proxy either, whose address often holds a password.
var passed = map[string]bool{
	"PATH": true, "LANG": true, "LC_ALL": true, "TZ": true, "CI": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true,
}

// environ is the whole environment of the CLI.
func (p *Plan) environ(home, token string) []string {
	env := []string{
		"HOME=" + home,
		"TMPDIR=" + home,
		"PAGEFLARE_NO_AUTO_INSTALL=1",
		"PAGEFLARE_TELEMETRY=0",
	}
	for _, pair := range p.cfg.Environ {
		name, _, _ := strings.Cut(pair, "=")
		if passed[name] {
			env = append(env, pair)
		}
	}
	add := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	add("PAGEFLARE_TOKEN", token)
	add("PAGEFLARE_LICENSE", p.cfg.License.Reveal())
	add("PAGEFLARE_API_URL", strings.TrimRight(p.cfg.APIURL, "/"))
	return env
}
