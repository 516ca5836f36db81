package server

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// The explorer shows openapi.yaml to people, who can send requests from it to this very service. It is Scalar's, served from here: it works
// without any other host, and its policy lets it speak with none.
// https://github.com/scalar/scalar

//go:generate ./explorer/generate.sh

//go:embed explorer/index.html explorer/start.js explorer/bundle.gen.js.gz
var explorer embed.FS

// explorerPolicy allows what the explorer needs: its own two scripts, requests to this service, and styles that the bundle makes as it runs.
const explorerPolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

// docs answers GET /docs.
func (s *Server) docs(c *gin.Context) error {
	c.Header("Content-Security-Policy", explorerPolicy)
	c.Header("Referrer-Policy", "no-referrer")
	return explorerFile(c, "index.html", "text/html; charset=utf-8")
}

// docsStart answers GET /docs/start.js.
func (s *Server) docsStart(c *gin.Context) error {
	return explorerFile(c, "start.js", "text/javascript; charset=utf-8")
}

// docsBundle answers GET /docs/bundle.js: compressed for whoever takes it so.
func (s *Server) docsBundle(c *gin.Context) error {
	c.Header("Vary", "Accept-Encoding")
	const name = "bundle.gen.js.gz"
	if strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
		c.Header("Content-Encoding", "gzip")
		return explorerFile(c, name, "text/javascript; charset=utf-8")
	}
	packed, err := explorer.ReadFile("explorer/" + name)
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

func explorerFile(c *gin.Context, name, kind string) error {
	b, err := explorer.ReadFile("explorer/" + name)
	if err != nil {
		return err
	}
	c.Header("X-Content-Type-Options", "nosniff")
	c.Data(http.StatusOK, kind, b)
	return nil
}
