package githubapp

import "github.com/pageflare/ci/service/opaque"

// Secret is that of the address of the page.
func (l *Local) Secret() opaque.Secret { return l.secret }
