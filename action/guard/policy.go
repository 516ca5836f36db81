package guard

// Policies are the Content-Security-Policies that the site's own configuration files set.
type Policies struct{}

// ParsePolicies reads the files of the site that set headers, by their base names: _headers,
// staticwebapp.config.json, vercel.json, netlify.toml, firebase.json and .htaccess; others are ignored.
func ParsePolicies(files map[string][]byte) Policies { return Policies{} }

// For are all policies of one page; meta holds the content of its own meta elements that set one.
func (p Policies) For(pagePath string, meta []string) Policy { return Policy{} }

// Policy is what the browser enforces on one page. The zero value allows everything.
type Policy struct{}

// Script reports whether an inline script runs.
func (p Policy) Script(content []byte, nonce string) bool { return true }

// SpeculationRules reports whether an inline script of the type speculationrules is used.
func (p Policy) SpeculationRules(content []byte, nonce string) bool { return true }

// Handler reports whether the value of an event handler attribute runs.
func (p Policy) Handler(content []byte) bool { return true }

// Style reports whether a style element applies.
func (p Policy) Style(content []byte, nonce string) bool { return true }

// StyleAttr reports whether the value of a style attribute applies.
func (p Policy) StyleAttr(content []byte) bool { return true }

// Source reports whether something is loaded from url, which is a path for the site itself.
func (p Policy) Source(directive, url string) bool { return true }
