package browser

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// host is the name that a site has in the browser, the same for all, so that addresses in pages can
// be compared as they are. Chromium takes names below localhost for secure, which service workers
// need.
const host = "site.localhost"

// server serves one folder as a static host does. It is also the only proxy that the browser may
// use: a request for any other host is refused.
type server struct {
	root    *os.Root
	headers []headerRule
	http    *http.Server
	address string // of the proxy
}

func serve(dir string) (*server, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", dir, err)
	}
	s := &server{root: root}
	text, err := root.ReadFile("_headers")
	if err == nil {
		s.headers, err = parseHeaders(string(text))
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read _headers: %w", err), root.Close())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.http.Serve(listener) }() // ends with close
	return s, nil
}

func (s *server) close() error { return errors.Join(s.http.Close(), s.root.Close()) }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect || r.Host != host {
		http.Error(w, "only the site itself is served", http.StatusBadGateway)
		return
	}
	for _, rule := range s.headers {
		if rule.matches(r.URL.Path) {
			w.Header().Add(rule.name, rule.value)
		}
	}
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-cache")
	}
	name, redirect := s.find(r.URL.Path)
	switch {
	case redirect:
		http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
	case name == "" && r.URL.Path == "/favicon.ico":
		w.WriteHeader(http.StatusNoContent) // Chromium asks for it on its own, not on every visit
	case name == "":
		s.send(w, r, "404.html", http.StatusNotFound)
	default:
		s.send(w, r, name, http.StatusOK)
	}
}

// find gives the file of the site that a path means, or says that the path needs a slash at its
// end.
func (s *server) find(urlPath string) (name string, redirect bool) {
	clean := strings.TrimPrefix(path.Clean("/"+urlPath), "/")
	if clean == "" || strings.HasSuffix(urlPath, "/") {
		return s.regular(path.Join(clean, "index.html")), false
	}
	if name := s.regular(clean); name != "" {
		return name, false
	}
	if name := s.regular(clean + ".html"); name != "" {
		return name, false
	}
	return "", s.regular(path.Join(clean, "index.html")) != ""
}

// regular gives the name back when it is one of a file in the folder, and nothing else.
func (s *server) regular(name string) string {
	if info, err := s.root.Stat(name); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return name
}

// send sends a file, in its compressed form when there is one, as hosts do that look for
// precompressed siblings.
func (s *server) send(w http.ResponseWriter, r *http.Request, name string, status int) {
	w.Header().Set("Content-Type", contentType(name))
	for _, c := range []struct{ suffix, encoding string }{{".br", "br"}, {".gz", "gzip"}} {
		if strings.Contains(r.Header.Get("Accept-Encoding"), c.encoding) && s.regular(name+c.suffix) != "" {
			w.Header().Set("Content-Encoding", c.encoding)
			name += c.suffix
			break
		}
	}
	file, err := s.root.Open(name)
	if err != nil {
		http.Error(w, "not found", status)
		return
	}
	defer file.Close()
	w.WriteHeader(status)
	_, _ = io.Copy(w, file) // the browser may have gone away
}

// contentType is by the name alone, and without a charset: what a page says of its own charset must
// count.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html", ".htm":
		return "text/html"
	case ".js", ".mjs":
		return "text/javascript"
	case ".css":
		return "text/css"
	case ".json", ".map":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".webmanifest":
		return "application/manifest+json"
	default:
		if known := mime.TypeByExtension(ext); known != "" {
			return known
		}
		return "application/octet-stream"
	}
}
