package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// window is the part of a list that a page shows.
type window struct{ from, to int }

// page reads page and per_page (30 unless given, at most 100) and makes the Link header:
//
//	Link: <http://127.0.0.1:1/x?page=2&per_page=100>; rel="next", <…>; rel="last"
func (s *Server) page(req *request, total int) (window, http.Header, error) {
	query := req.URL.Query()
	number, size := 1, 30
	for name, to := range map[string]*int{"page": &number, "per_page": &size} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return window{}, nil, errors.New(name + " must be a positive number")
		}
		*to = n
	}
	size = min(size, 100)
	last := max(1, (total+size-1)/size)
	shown := window{min((number-1)*size, total), min(number*size, total)}
	if number >= last {
		return shown, http.Header{}, nil
	}
	link := func(n int, rel string) string {
		return fmt.Sprintf("<%s%s?page=%d&per_page=%d>; rel=%q", s.URL(), req.path, n, size, rel)
	}
	return shown, http.Header{"Link": {strings.Join([]string{link(number+1, "next"), link(last, "last")}, ", ")}}, nil
}

// with adds headers to an answer.
func (a answer) with(header http.Header) answer {
	for name, values := range header {
		a.header[name] = values
	}
	return a
}
