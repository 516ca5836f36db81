package optimize

import (
	"context"
	"errors"
)

var (
	SplitArgs     = splitArgs
	ErrNoExchange = errNoExchange
)

// WithSwap has the plan swap folders by the function.
func (p *Plan) WithSwap(swap func(from, to string) error) { p.swap = swap }

// WithMaxStdout lets the CLI print n bytes.
func (p *Plan) WithMaxStdout(n int) { p.maxStdout = n }

// Stage does what Run does around the CLI: cli gets the staging folder.
func (p *Plan) Stage(ctx context.Context, cli func(staging string)) (Report, error) {
	site, err := scanSite(p.Source, p.cfg.Source, p.InPlace)
	if err != nil {
		return Report{}, err
	}
	s, err := newStage(p.Output, p.swap)
	if err != nil {
		return Report{}, err
	}
	cli(s.path)
	var r Report
	after, err := s.complete(ctx, site, &r)
	r.Before, r.After, r.Changes = measure(site), measure(after), compare(site, after)
	return r, errors.Join(err, s.replace(), s.discard())
}
