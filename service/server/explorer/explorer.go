// Package explorer shows openapi.yaml to people, who can send requests from it to this very
// service.
package explorer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/server/route"
)

// It is Scalar's, served from here: it works
// without any other host, and its policy lets it speak with none.
// https://github.com/scalar/scalar

//go:generate ./generate.sh

//go:embed index.html start.js bundle.gen.js.gz
var files embed.FS

// explorerPolicy allows what the explorer needs: its own two scripts, requests to this service, and
// styles that the bundle makes as it runs.
const explorerPolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

// Routes are the routes of the explorer.
func Routes() []route.Route {
	return []route.Route{
		route.Get("/", route.Open, toDocs),
		route.Get("/docs/", route.Open, toDocs),
		route.Get("/docs", route.Open, docs),
		route.Get("/docs/bundle.js", route.Open, docsBundle),
		route.Get("/docs/start.js", route.Open, docsStart),
	}
}

// toDocs answers GET / and GET /docs/: anyone who types the address of the service into a browser
// wants to know what it is.
func toDocs(c *gin.Context) error {
	c.Redirect(http.StatusSeeOther, "/docs")
	return nil
}

// docs answers GET /docs.
func docs(c *gin.Context) error {
	c.Header("Content-Security-Policy", explorerPolicy)
	c.Header("Referrer-Policy", "no-referrer")
	return explorerFile(c, "index.html", "text/html; charset=utf-8")
}

// docsStart answers GET /docs/start.js.
func docsStart(c *gin.Context) error {
	return explorerFile(c, "start.js", "text/javascript; charset=utf-8")
}

// bundleTag names the bundle of this version.
var bundleTag = sync.OnceValues(func() (string, error) {
	packed, err := files.ReadFile(bundleFile)
	sum := sha256.Sum256(packed)
	return hex.EncodeToString(sum[:16]), err
})

const bundleFile = "bundle.gen.js.gz"

// docsBundle answers GET /docs/bundle.js: compressed for anyone who takes it so. It is a megabyte,
// so a browser may keep it; it asks each time whether it is still that of the service (RFC 9111,
// 5.2.2.4), for the page that starts it changes with it.
func docsBundle(c *gin.Context) error {
	tag, err := bundleTag()
	if err != nil {
		return err
	}
	packedToo := strings.Contains(c.GetHeader("Accept-Encoding"), "gzip")
	if packedToo {
		tag += "-gzip" // other bytes, another name (RFC 9110, 8.8.3.3)
	}
	c.Header("Vary", "Accept-Encoding")
	c.Header("Cache-Control", "public, no-cache")
	c.Header("ETag", strconv.Quote(tag))
	if known(c.GetHeader("If-None-Match"), strconv.Quote(tag)) {
		c.Status(http.StatusNotModified)
		return nil
	}
	if packedToo {
		c.Header("Content-Encoding", "gzip")
		return explorerFile(c, "bundle.gen.js.gz", "text/javascript; charset=utf-8")
	}
	packed, err := files.ReadFile(bundleFile)
	if err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, "text/javascript; charset=utf-8", plain)
	return nil
}

// known tells whether an If-None-Match names the tag (RFC 9110, 13.1.2): a weak one counts too.
func known(header, tag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		if item = strings.TrimSpace(item); item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}

func explorerFile(c *gin.Context, name, kind string) error {
	b, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	c.Header("X-Content-Type-Options", "nosniff")
	c.Data(http.StatusOK, kind, b)
	return nil
}
